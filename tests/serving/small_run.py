"""A finished run without a training: random weights, and a record made of random answers."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
from PIL import Image

from everyclass.models.backbones import build_backbone
from everyclass.models.classifier import Classifier, Preprocessing
from everyclass.models.decision import Decision
from everyclass.models.file import SavedModel, save_model
from everyclass.run_folder import RunFolder
from everyclass.stats.evaluation import evaluate_predictions
from everyclass.workflows.prediction_sets import write_scores

CLASSES = ("ash", "birch <b>", "cedar")
PRIOR = (0.6, 0.3, 0.1)


def write_small_run(folder: Path, *, test_images: int = 300) -> Path:
    """`test_resnet` at 32 px, never trained, with `evaluation.json` and `conformal.json`."""
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").touch()
    network = build_backbone("test_resnet", side=32, n_classes=3, seed=0)
    model = SavedModel(
        classifier=Classifier(
            network.network, Preprocessing(side=32, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
        ).eval(),
        name="test_resnet",
        small_stem=network.small_stem,
        classes=CLASSES,
        decision=Decision(logits_prior=(1 / 3, 1 / 3, 1 / 3), natural_prior=PRIOR),
    )
    save_model(folder, model)
    rng = np.random.default_rng(0)
    targets = rng.choice(3, size=test_images, p=PRIOR)
    logits = rng.normal(size=(test_images, 3)).astype(np.float32)
    logits[np.arange(test_images), targets] += 2
    probs = model.decision.probabilities(logits)
    run = RunFolder(folder)
    write_scores(run, model, logits, targets)
    evaluation = evaluate_predictions(
        targets,
        model.decision.balanced(logits),
        probs=probs,
        probs_before_temperature=probs,
        classes=CLASSES,
        split="test",
        decision="balanced",
        prior=PRIOR,
    )
    run.write_json(run.evaluation, evaluation.to_dict())
    return folder


@contextmanager
def serving(run: Path, **options: Any) -> Iterator[Any]:
    """A server of this process, on a free port of the loopback interface; yields what started."""
    from everyclass.serving.server import serve

    begun, found = Event(), dict[str, Any]()

    def keep(started: Any) -> None:
        found["started"] = started
        begun.set()

    def work() -> None:
        try:
            found["ended"] = serve(run, port=0, on_start=keep, **options)
        finally:
            begun.set()

    thread = Thread(target=work)
    thread.start()
    begun.wait(120)
    started = found["started"]
    try:
        yield started
    finally:
        started.stop()
        thread.join(60)
        assert not thread.is_alive()


def ask(
    address: str,
    path: str,
    content: Any = None,
    headers: dict[str, str] | None = None,
    *,
    method: str | None = None,
    chunked: bool = False,
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case, body."""
    from http.client import HTTPConnection

    host, _, port = address.removeprefix("http://").rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=60)
    try:
        connection.request(
            method or ("GET" if content is None else "POST"),
            path,
            body=content,
            headers={"Content-Type": "application/octet-stream", **(headers or {})},
            encode_chunked=chunked,
        )
        response = connection.getresponse()
        told = {name.lower(): value for name, value in response.getheaders()}
        return response.status, told, response.read()
    finally:
        connection.close()


def answer_of(address: str, content: bytes, **options: Any) -> dict[str, Any]:
    """What /predict answers; the request must succeed."""
    status, _, text = ask(address, "/predict", content, **options)
    assert status == 200, text
    found: dict[str, Any] = json.loads(text)
    return found


def picture(seed: int = 0, form: str = "PNG", side: int = 40) -> bytes:
    """A file of noise."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, size=(side, side + 8, 3), dtype=np.uint8)
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, form)
    return stored.getvalue()


def metrics_of(address: str) -> dict[str, float]:
    """`name{labels}` -> value."""
    from prometheus_client.parser import text_string_to_metric_families

    status, headers, text = ask(address, "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    return {
        one.name + "".join(f" {value}" for _, value in sorted(one.labels.items())): one.value
        for family in text_string_to_metric_families(text.decode())
        for one in family.samples
    }
