"""The monitor on made-up streams of logits, whose truth is known, and on a small real training."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from everyclass.errors import InputError
from everyclass.findings import Finding
from everyclass.monitoring.evaluations import weak_classes
from everyclass.monitoring.monitor import Monitor

CLASSES = 5
Stream = Iterator[tuple[Tensor, Tensor]]


def stream(
    steps: int,
    strength: Callable[[int], float],
    *,
    bias: Callable[[int], Tensor] = lambda _: torch.zeros(CLASSES),
    prior: tuple[float, ...] = (0.2,) * CLASSES,
    spread: float = 1.0,
    batch: int = 32,
    seed: int = 0,
) -> Stream:
    """Logits = bias + noise + strength at the true class."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.tensor(prior)
    for step in range(steps):
        targets = torch.multinomial(weights, batch, replacement=True, generator=generator)
        logits = spread * torch.randn(batch, len(prior), generator=generator) + bias(step)
        logits[torch.arange(batch), targets] += strength(step)
        yield logits, targets


def watched(passes: Stream, **options: object) -> tuple[Monitor, list[Finding]]:
    told: list[Finding] = []
    monitor = Monitor(on_finding=told.append, **options)  # type: ignore[arg-type]
    for logits, targets in passes:
        monitor.step(logits, targets, functional.cross_entropy(logits, targets))
    return monitor, told


def one_class(which: int) -> Callable[[int], Tensor]:
    shift = torch.zeros(CLASSES)
    shift[which] = 20.0
    return lambda _: shift


def test_a_learning_run_is_healthy() -> None:
    monitor, told = watched(stream(400, lambda step: min(4.0, step / 40)))
    summary = monitor.summary(ended=True)
    assert (summary.verdict, summary.phase, told) == ("healthy", "learned", [])
    assert summary.informative_since is not None
    assert summary.figures is not None
    assert min(summary.figures.recalls) > 0.5
    assert summary.figures.loss < summary.figures.prior_loss
    assert 0.5 < summary.figures.information < np.log(CLASSES)


def test_a_single_class_from_the_start_is_alarmed_on() -> None:
    monitor, told = watched(stream(400, lambda _: 0.0, bias=one_class(2), spread=0.01))
    assert told[0].id in ("collapsed", "not-learning", "diverged")
    collapsed = next(one for one in told if one.id == "collapsed")
    assert collapsed.since_step == 0
    assert collapsed.severity == "alarm"
    assert collapsed.evidence["class"] == "2"
    assert "'2'" in collapsed.sentence
    assert monitor.summary().verdict in ("collapsed", "diverged")


def test_first_class_0_then_the_majority_reports_both_halves() -> None:
    def bias(step: int) -> Tensor:
        shift = torch.zeros(CLASSES)
        shift[0 if step < 60 else 3] = 2.0
        return shift

    passes = stream(400, lambda _: 0.0, bias=bias, prior=(0.1, 0.1, 0.1, 0.6, 0.1), spread=0.01)
    _, told = watched(passes, classes=["CC", "EC", "LGSC", "HGSC", "MC"])
    collapsed = next(one for one in told if one.id == "collapsed")
    phases = collapsed.evidence["single_class_phases"]
    assert [one["class"] for one in phases] == ["CC", "HGSC"]
    assert phases[0]["first_step"] == 0
    assert phases[0]["last_step"] == 59
    assert phases[1]["first_step"] == 60
    assert "'CC' in steps 0 to 59" in collapsed.sentence


def test_the_opening_phase_is_told_from_a_stuck_run_by_progress() -> None:
    """Every prediction is class 1 for 300 steps, but the logits tell more and more."""

    def bias(_: int) -> Tensor:
        shift = torch.zeros(CLASSES)
        shift[1] = 1.0
        return shift

    slow = stream(300, lambda step: 1e-3 * step / 10, bias=bias, spread=0.02)
    monitor, told = watched(slow)
    summary = monitor.summary()
    assert told == []
    assert summary.phase == "opening"
    assert summary.learning
    assert "opening phase" in summary.sentence
    assert "'1'" in summary.sentence
    # The same without growth is stuck.
    _, told = watched(stream(300, lambda _: 1e-3, bias=bias, spread=0.02))
    assert "collapsed" in {one.id for one in told}


def test_an_untrained_network_that_happens_to_know_something_has_not_learned() -> None:
    """Constant information is no progress: rate 0, features that correlate with the label."""
    monitor, told = watched(stream(400, lambda _: 0.004, spread=0.01))
    assert monitor.summary().phase == "opening"
    assert "not-learning" in {one.id for one in told}


def test_collapse_in_mid_training_is_found_with_its_step_and_its_end() -> None:
    def bias(step: int) -> Tensor:
        shift = torch.zeros(CLASSES)
        shift[4] = 50.0 if 400 <= step < 800 else 0.0
        return shift

    monitor, told = watched(stream(1400, lambda step: min(4.0, step / 20), bias=bias))
    collapsed = next(one for one in told if one.id == "collapsed")
    assert collapsed.since_step == 400
    assert collapsed.seen_step > 400
    ended = [one.ended_step for one in monitor.findings() if one.id == "collapsed"]
    assert ended[0] is not None
    assert 800 <= ended[0] < 900
    assert monitor.summary().verdict == "healthy"


def test_a_starved_class_is_named() -> None:
    def bias(step: int) -> Tensor:
        shift = torch.zeros(CLASSES)
        shift[3] = -30.0 if step > 100 else 0.0
        return shift

    monitor, told = watched(
        stream(800, lambda step: min(4.0, step / 20), bias=bias), classes=list("abcde")
    )
    starved = next(one for one in told if one.id == "starved")
    assert [one["class"] for one in starved.evidence["classes"]] == ["d"]
    assert monitor.summary().verdict == "starved"


def test_oscillation_between_single_classes_is_a_collapse() -> None:
    def bias(step: int) -> Tensor:
        shift = torch.zeros(CLASSES)
        shift[(step // 8) % 3] = 20.0
        return shift

    _, told = watched(stream(400, lambda _: 0.0, bias=bias, spread=0.01))
    collapsed = next(one for one in told if one.id == "collapsed")
    assert "changes from batch to batch" in collapsed.sentence


def test_not_finite_is_a_fact() -> None:
    def bias(step: int) -> Tensor:
        return torch.full((CLASSES,), torch.nan if step >= 37 else 0.0)

    _, told = watched(stream(64, lambda _: 1.0, bias=bias))
    assert told[0].id == "diverged"
    assert told[0].since_step == 37


def test_an_exploding_loss_is_alarmed_on() -> None:
    def wrong(step: int) -> float:
        return -200.0 if step > 150 else min(4.0, step / 20)

    _, told = watched(stream(600, wrong))
    assert "diverged" in {one.id for one in told}


def test_only_the_evaluation_collapses() -> None:
    told: list[Finding] = []
    monitor = Monitor(on_finding=told.append)
    for epoch in range(3):
        for logits, targets in stream(100, lambda step: 4.0, seed=epoch):
            monitor.step(logits, targets)
        for logits, targets in stream(10, lambda _: 0.0, bias=one_class(1), seed=epoch):
            monitor.observe_evaluation(logits, targets)
        monitor.end_evaluation()
    assert [one.id for one in told] == ["collapsed"]
    assert told[0].evidence["stream"] == "evaluation"
    assert told[0].since_step == 100
    assert monitor.summary().evaluation is not None
    # It is over when an evaluation is well again.
    for logits, targets in stream(10, lambda _: 4.0):
        monitor.observe_evaluation(logits, targets)
    assert monitor.summary().verdict == "healthy"


def test_an_evaluation_that_numbers_its_classes_differently_is_told() -> None:
    told: list[Finding] = []
    monitor = Monitor(on_finding=told.append)
    for epoch in range(3):
        for logits, targets in stream(100, lambda step: 4.0, seed=epoch):
            monitor.step(logits, targets)
        for logits, targets in stream(10, lambda _: 4.0, seed=epoch):
            monitor.observe_evaluation(logits, (targets + 1) % CLASSES)
        monitor.end_evaluation()
    assert [one.id for one in told] == ["collapsed"]
    assert "number the classes differently" in told[0].sentence


def test_an_evaluation_far_behind_but_above_chance_is_none_that_has_collapsed() -> None:
    told: list[Finding] = []
    monitor = Monitor(on_finding=told.append)
    for epoch in range(3):
        for logits, targets in stream(100, lambda step: 4.0, seed=epoch):
            monitor.step(logits, targets)
        for logits, targets in stream(10, lambda _: 1.0, seed=epoch):
            monitor.observe_evaluation(logits, targets)
        monitor.end_evaluation()
    assert told == []


def test_a_class_that_the_last_evaluation_misses_is_told_at_the_end() -> None:
    monitor, told = watched(stream(300, lambda step: min(4.0, step / 20)))

    def bias(_: int) -> Tensor:
        shift = torch.zeros(CLASSES)
        shift[2] = -30.0
        return shift

    for logits, targets in stream(20, lambda _: 4.0, bias=bias):
        monitor.observe_evaluation(logits, targets)
    assert monitor.summary().verdict == "healthy"
    summary = monitor.summary(ended=True)
    assert summary.verdict == "starved"
    assert told == []
    assert summary.findings[-1].severity == "warning"
    assert summary.findings[-1].evidence["classes"] == ["2"]


@pytest.mark.parametrize(
    ("hits", "weak"),
    [
        ((90, 90, 90, 90, 10), [4]),
        ((90, 90, 90, 90, 40), []),  # perhaps half as often
        ((20, 20, 20, 20, 15), []),  # all are recognised badly
        ((90, 0, 90, 90, 0), [1, 4]),
    ],
)
def test_classes_far_behind_the_others(hits: tuple[int, ...], weak: list[int]) -> None:
    confusion = np.diag(hits)
    for k, right in enumerate(hits):
        confusion[k, (k + 1) % len(hits)] += 100 - right
    assert weak_classes(confusion) == weak
    few = np.zeros((3, 3), dtype=np.int64)
    few[0, 0], few[1, 0] = 50, 1  # one image is no evidence, and a class without any is not judged
    assert weak_classes(few) == []


def test_a_class_is_starved_by_the_last_two_evaluations_together() -> None:
    """12 images: 0.9^12 shows nothing of 5 classes, 0.9^24 would not; 0.9^60 does."""

    def without(which: int | None) -> Callable[[int], Tensor]:
        shift = torch.zeros(CLASSES)
        if which is not None:
            shift[which] = -30.0
        return lambda _: shift

    def judged(*missed: int | None) -> str:
        monitor, _ = watched(stream(300, lambda step: min(4.0, step / 20)))
        for i, one in enumerate(missed):
            for logits, targets in stream(5, lambda _: 4.0, bias=without(one), seed=i):
                monitor.observe_evaluation(logits, targets)
            monitor.end_evaluation()
            for logits, targets in stream(10, lambda _: 4.0, seed=9):
                monitor.step(logits, targets)
        return monitor.summary(ended=True).verdict

    assert judged(2, 2) == "starved"
    assert judged(2, None) == "healthy"
    assert judged(None, 2) == "healthy"  # a single bad moment


def test_a_class_that_no_training_target_has_is_told_at_the_end() -> None:
    monitor = Monitor(classes=list("abcde"))
    for logits, targets in stream(300, lambda step: min(4.0, step / 20)):
        monitor.step(logits, torch.where(targets == 0, -100, targets))
    shift = torch.zeros(CLASSES)
    shift[0] = -30.0
    for logits, targets in stream(2, lambda _: 4.0, bias=lambda _: shift):
        monitor.observe_evaluation(logits, targets)
    assert monitor.summary().verdict == "healthy"
    summary = monitor.summary(ended=True)
    assert summary.verdict == "starved"
    assert summary.findings[-1].evidence["classes"] == ["a"]
    assert "training targets counted has: 'a' (0 of" in summary.findings[-1].sentence


def test_slow_classes_are_waited_for() -> None:
    """The last class comes late, while the others still get better."""

    def bias(step: int) -> Tensor:
        shift = torch.zeros(CLASSES)
        shift[3] = -6.0 if step < 600 else 0.0
        return shift

    monitor, told = watched(stream(900, lambda step: step / 200, bias=bias))
    assert told == []
    assert monitor.summary(ended=True).verdict == "healthy"


def test_small_batches_are_pooled() -> None:
    monitor, told = watched(stream(3000, lambda step: min(4.0, step / 200), batch=4))
    assert told == []
    assert monitor.summary().phase == "learned"
    _, told = watched(stream(3000, lambda _: 0.0, bias=one_class(0), spread=0.01, batch=4))
    assert "collapsed" in {one.id for one in told}


def test_accumulation_counts_optimizer_steps() -> None:
    monitor = Monitor()
    for i, (logits, targets) in enumerate(stream(64, lambda _: 4.0)):
        monitor.observe(logits, targets)
        if i % 4 == 3:
            monitor.advance()
    assert monitor.summary().step == 16


def test_blocks_do_not_change_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> tuple[list[tuple[str, int | None]], object]:
        monitor, told = watched(stream(300, lambda _: 0.0, bias=one_class(2), spread=0.01))
        figures = monitor.summary().figures
        assert figures is not None
        return [(one.id, one.since_step) for one in told], figures.recalls

    plain = run()
    monkeypatch.setattr("everyclass.monitoring.monitor.LARGEST_BLOCK", 8)
    assert run() == plain


def test_renaming_classes_changes_names_only() -> None:
    def run(order: list[int]) -> list[tuple[str, int | None, int]]:
        told: list[Finding] = []
        monitor = Monitor(on_finding=told.append)
        for logits, targets in stream(300, lambda _: 0.0, bias=one_class(2), spread=0.01):
            place = torch.tensor(order)
            monitor.step(logits[:, place.argsort()], place[targets])
        return [(one.id, one.since_step, one.seen_step) for one in told]

    assert run([0, 1, 2, 3, 4]) == run([4, 2, 0, 1, 3])


def test_nothing_is_drawn_and_memory_is_bounded() -> None:
    state = torch.get_rng_state()
    monitor, _ = watched(stream(1500, lambda step: min(4.0, step / 40), batch=32))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(monitor._history.records) <= 256  # type: ignore[union-attr]
    assert len(monitor._last) <= 32


def test_layers_and_first_non_finite_tensor() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    with torch.no_grad():
        # Every unit of the first layer is dead: no gradient reaches its weights.
        model[0].bias.fill_(-100.0)  # type: ignore[operator]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    monitor = Monitor(model=model, optimizer=optimizer)
    for step in range(70):
        x, y = torch.randn(16, 8), torch.randint(0, CLASSES, (16,))
        if step == 68:
            with torch.no_grad():
                model[2].weight[0, 0] = torch.nan  # type: ignore[index]
        logits = model(x)
        loss = functional.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        monitor.step(logits, y, loss)
    layers = {one.name: one for one in monitor.summary().layers}
    assert layers["0"].dead_share == 1
    assert layers["2"].dead_share < 1
    assert layers["2"].gradient_norm > 0
    found = [one for one in monitor.findings() if one.id == "diverged"]
    assert found[0].evidence["first_non_finite"] == "parameter 2.weight"


def test_update_ratio_by_hand() -> None:
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))  # norm 5
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    monitor = Monitor(model=model, optimizer=optimizer)
    model.weight.grad = torch.tensor([[1.0, 0.0], [0.0, 0.0]])  # the step has norm 0.5
    optimizer.step()
    monitor.step(torch.zeros(2, 2), torch.tensor([0, 1]))
    (layer,) = monitor.summary().layers
    assert layer.gradient_norm == pytest.approx(1.0)
    assert layer.update_ratio == pytest.approx(0.1)
    assert layer.dead_share == pytest.approx(0.5)


def test_summary_is_json_and_html_and_text() -> None:
    monitor, _ = watched(stream(100, lambda _: 4.0), classes=["<a>", "b", "c", "d", "e"])
    summary = monitor.summary()
    assert json.loads(json.dumps(summary.to_dict(), allow_nan=False))["phase"] == "learned"
    assert "&lt;a&gt;" in summary._repr_html_()
    assert str(summary).startswith("step 100: healthy")
    assert monitor.scalars()["everyclass/recall/b"] > 0.5
    assert Monitor().summary().phase == "nothing-seen"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"false_alarm_probability": 0.0}, "not in (0, 1)"),
        ({"classes": ["a"]}, "two or more"),
        ({"model": nn.Linear(2, 2)}, "together"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(").replace(")", r"\)")):
        Monitor(**options)  # type: ignore[arg-type]


def test_shapes_that_do_not_fit_are_refused() -> None:
    monitor = Monitor(classes=["a", "b"])
    with pytest.raises(InputError, match=r"\(4, 1\)|one output column"):
        monitor.step(torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(InputError, match="shape"):
        monitor.step(torch.zeros(4, 2), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(InputError, match="3 outputs"):
        monitor.step(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))
