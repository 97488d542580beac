"""What a server counts: requests, seconds, batches, classes, drift; for Prometheus and for people.

Needs the extra `serve`. Comes in: what happened. Goes out: the text format of Prometheus, JSON.
Nothing of an image is kept but the class that it was given, as a count.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client import Counter as Metric

from everyclass.serving.limits import Outcome
from everyclass.stats.drift import DriftTest, null_of

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128)
_log = logging.getLogger(__name__)


class Meters:
    """The counts of one server; a registry of its own, so that two servers do not mix.

    `begun`, `ended` and `given` are called by the thread of the event loop, `batch` by any.

    Args:
        drift: the test of the classes that are given.
        watched: the decision whose classes the test and the counts are of.
    """

    def __init__(self, drift: DriftTest, *, watched: str) -> None:
        self.drift = drift
        self.outcomes: Counter[str] = Counter()
        self.under_way = 0
        self.batches: Counter[int] = Counter()
        self._watched = watched
        self._ids = {name: k for k, name in enumerate(drift.expected.classes)}
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Metric(
            "everyclass_requests",
            "Requests to /predict, by how they ended.",
            ["outcome"],
            registry=registry,
        )
        for outcome in get_args(Outcome):
            self._requests.labels(outcome)
        self._under_way = Gauge(
            "everyclass_requests_under_way",
            "Requests to /predict that are not answered yet.",
            registry=registry,
        )
        self._seconds = Histogram(
            "everyclass_request_seconds",
            "From a request's head to its prediction.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._sizes = Histogram(
            "everyclass_batch_images",
            "Images of one forward pass.",
            buckets=_BATCH,
            registry=registry,
        )
        self._given = Metric(
            "everyclass_predictions",
            f"Images by class, as the {watched} decision gives them.",
            ["class"],
            registry=registry,
        )
        expected = Gauge(
            "everyclass_expected_share",
            "Least and largest share expected of a class.",
            ["class", "end"],
            registry=registry,
        )
        for k, name in enumerate(drift.expected.classes):
            self._given.labels(name)
            expected.labels(name, "low").set(drift.expected.low[k])
            expected.labels(name, "high").set(drift.expected.high[k])
        self._p_value = Gauge(
            "everyclass_drift_p_value",
            f"Smallest so far, valid at any time. {null_of(drift.expected)}",
            registry=registry,
        )
        self._p_value.set(1.0)
        self._alarm = Gauge(
            "everyclass_drift_alarm",
            "1 once classes are seen to be given otherwise.",
            registry=registry,
        )

    def begun(self) -> None:
        """A request to /predict was let in; `ended` follows."""
        self.under_way += 1
        self._under_way.set(self.under_way)

    def turned_away(self) -> None:
        """A request to /predict was not let in."""
        self.outcomes["unauthorised"] += 1
        self._requests.labels("unauthorised").inc()

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """A request ended so, this long after it began."""
        self.under_way -= 1
        self._under_way.set(self.under_way)
        self.outcomes[outcome] += 1
        self._requests.labels(outcome).inc()
        if outcome == "answered":
            self._seconds.observe(seconds)

    def batch(self, images: int) -> None:
        """A forward pass begins."""
        with self._lock:
            self.batches[images] += 1
        self._sizes.observe(images)

    def given(self, answer: dict[str, Any]) -> None:
        """An image was answered."""
        name = answer[f"prediction_{self._watched}"]
        self._given.labels(name).inc()
        alarm = self.drift.add(self._ids[name])
        self._p_value.set(self.drift.p_value)
        if alarm is not None:
            self._alarm.set(1)
            _log.warning("Drift: %s %s", alarm.sentence, null_of(self.drift.expected))

    def text(self) -> bytes:
        """For Prometheus."""
        return generate_latest(self.registry)

    def to_dict(self) -> dict[str, Any]:
        """For people and their health checks; JSON-ready."""
        with self._lock:
            images = sum(size * n for size, n in self.batches.items())
            passes = sum(self.batches.values())
        return {
            "seconds": round(time.monotonic() - self._began, 3),
            "under_way": self.under_way,
            "requests": {name: self.outcomes[name] for name in get_args(Outcome)},
            "images_a_pass": round(images / passes, 3) if passes else None,
            "drift": {"decision": self._watched, **self.drift.to_dict()},
        }
