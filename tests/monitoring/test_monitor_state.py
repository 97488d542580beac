"""A monitor that goes on from its saved state tells what it would have told."""

from __future__ import annotations

import io
from itertools import islice

import pytest
import torch
from test_monitor import one_class, stream
from torch.nn import functional

from everyclass.findings import Finding
from everyclass.monitoring.monitor import Monitor

CPU = torch.device("cpu")


def fed(monitor: Monitor, passes: object, *, evaluate_every: int = 50) -> None:
    for logits, targets in passes:  # type: ignore[attr-defined]
        monitor.observe(logits, targets, functional.cross_entropy(logits, targets))
        monitor.advance(learning_rate=0.1 / (1 + monitor.steps))
        if monitor.steps % evaluate_every == 0:
            monitor.observe_evaluation(logits, targets)
            monitor.end_evaluation()


def passes() -> object:
    """Learns for 200 steps, then collapses into one class."""
    collapse = one_class(2)
    calm = torch.zeros(5)
    return stream(
        500,
        lambda step: min(4.0, step / 40) if step < 200 else 0.0,
        bias=lambda step: collapse(step) if step >= 200 else calm,
        batch=12,
    )


@pytest.mark.parametrize("at", [1, 7, 50, 203, 231, 499])
def test_a_monitor_goes_on_from_a_checkpoint_as_if_nothing_had_been(at: int) -> None:
    whole_told: list[Finding] = []
    whole = Monitor(classes=list("abcde"), steps_per_epoch=40, on_finding=whole_told.append)
    fed(whole, passes())
    told: list[Finding] = []
    first = Monitor(classes=list("abcde"), steps_per_epoch=40, on_finding=told.append)
    all_passes = iter(passes())  # type: ignore[call-overload]
    fed(first, islice(all_passes, at))
    buffer = io.BytesIO()
    torch.save(first.state(), buffer)
    buffer.seek(0)
    second = Monitor(classes=list("abcde"), steps_per_epoch=40, on_finding=told.append)
    second.restore(torch.load(buffer, weights_only=True), device=CPU)
    fed(second, all_passes)
    assert whole.summary(ended=True).to_dict() == second.summary(ended=True).to_dict()
    assert [one.to_dict() for one in whole_told] == [one.to_dict() for one in told]
    assert {"collapsed", "diverged"} & {one.id for one in whole_told}


def test_to_give_the_state_reads_nothing_early() -> None:
    asked, unasked = Monitor(), Monitor()
    for logits, targets in stream(100, lambda step: step / 40):
        for monitor in (asked, unasked):
            monitor.step(logits, targets)
        asked.state()
    assert asked.summary().to_dict() == unasked.summary().to_dict()


def test_the_state_of_thousands_of_classes_is_as_small_as_its_images() -> None:
    n_classes = 2_000
    labels = torch.arange(500) * 4
    logits = functional.one_hot(labels, n_classes).float()

    def evaluated(monitor: Monitor) -> None:
        monitor.observe(logits, labels, functional.cross_entropy(logits, labels))
        monitor.advance(learning_rate=0.1)
        monitor.observe_evaluation(logits.roll(1, dims=0), labels)
        monitor.end_evaluation()

    first = Monitor()
    evaluated(first)
    evaluated(first)
    buffer = io.BytesIO()
    torch.save(first.state(), buffer)
    assert buffer.tell() < 8_000_000  # each of the two confusions has 32 million bytes
    buffer.seek(0)
    again = Monitor(first_step=2)
    again.restore(torch.load(buffer, weights_only=True), device=CPU)
    for one in (first, again):
        evaluated(one)
    assert again.summary().to_dict() == first.summary().to_dict()
    assert again.summary(ended=True).to_dict() == first.summary(ended=True).to_dict()
