"""Trainings that are made bad on purpose: repaired, left alone, interrupted, given up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from repair_zoo import (
    WILD,
    always,
    gone_on,
    options,
    quiet,
    repairs_of,
    results,
    told,
    trained,
)

from everyclass.errors import InputError
from everyclass.recipe import Recipe
from everyclass.run_folder import RunFolder
from everyclass.training.optim import learning_rate_at
from everyclass.workflows.events import (
    Alarmed,
    Answered,
    Diagnosing,
    EpochDone,
    Event,
    StepsDone,
)
from everyclass.workflows.job import InterruptedTraining, NonFiniteLoss
from everyclass.workflows.repair import RepairsUsedUp
from image_folders import write_image_folder

DIAGNOSE = "everyclass.workflows.repair.diagnose_case"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of about 130 images, so that a trial has enough to hold out."""
    folder = tmp_path_factory.mktemp("squares")
    return write_image_folder(folder, {"ash": 140, "birch": 130, "cedar": 120})


def recipe_of(path: Path) -> dict[str, object]:
    recipe = Recipe.from_yaml(path.read_text(), where=str(path))
    return {one.name: one.value for one in recipe.decisions}


# -- with real trials ------------------------------------------------------------------------------


def test_a_rate_that_is_too_high_is_found_and_lowered(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    events: list[Event] = []
    outcome = trained(images, out, options(**WILD), events.append)
    assert outcome.evaluation.never_predicted == ()
    assert outcome.evaluation.balanced_accuracy > 0.8
    # A third of the rate with a warm-up helps in the trial as well, and may need a second repair.
    repair, *more = repairs_of(out)
    assert all(one["outcome"] == "repaired" and one["proved"] for one in more)
    assert (repair["outcome"], repair["proved"], repair["from_step"]) == ("repaired", True, 0)
    old, new = recipe_of(out / "recipe.yaml"), recipe_of(out / "recipe-1.yaml")
    assert old["learning_rate"] == 0.3
    assert isinstance(new["learning_rate"], float)
    assert new["learning_rate"] < 0.3
    assert {one["name"] for one in repair["changes"]} == {k for k in old if old[k] != new[k]}
    assert "it was 0.3" in (out / "recipe-1.yaml").read_text().replace("\n", " ")
    diagnosis = json.loads((out / "diagnosis-1.json").read_text())
    assert any(one["proved"] and one["id"] == repair["cause"] for one in diagnosis["causes"])
    # What was before the repair is still there.
    assert list((out / "checkpoints").glob("step-*.pt"))
    assert list((out / "checkpoints" / "repair-1").glob("step-*.pt"))
    void = (out / "metrics-1.jsonl").read_text().splitlines()
    assert len(void) == repair["step"] // steps_an_epoch(events)
    assert [line["epoch"] for line in RunFolder(out).read_metrics()] == list(range(14))
    kinds = [type(one) for one in events]
    assert kinds.index(Alarmed) < kinds.index(Diagnosing) < kinds.index(Answered)
    assert "learning_rate from 0.3 to" in outcome.sentences[0]


def steps_an_epoch(events: list[Event]) -> int:
    return next(one.step for one in events if isinstance(one, EpochDone))


def test_raw_inputs_are_found_and_standardised(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    raw = options(
        batch_size=16,
        normalisation="raw",
        optimizer="sgd",
        learning_rate=0.02,
        weight_decay=0.0,
        epochs=8,
    )
    outcome = trained(images, out, raw)
    assert outcome.evaluation.never_predicted == ()
    [repair] = repairs_of(out)
    assert repair["cause"] == "inputs-not-scaled"
    assert recipe_of(out / "recipe-1.yaml")["normalisation"] == "dataset"
    assert repair["checkpoint"] is None
    checks = json.loads((out / "checks.json").read_text())["results"]
    assert "inputs-not-scaled" not in {one["cause"] for one in checks}


# -- left alone ------------------------------------------------------------------------------------


def test_without_repair_the_collapse_stays_and_is_told(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    events: list[Event] = []
    # An average of the weights would look better than they are.
    outcome = trained(images, out, options(None, **WILD, ema_decay=0.0), events.append)
    assert outcome.evaluation.balanced_accuracy < 0.5
    assert any(isinstance(one, Alarmed) for one in events)
    assert not any(isinstance(one, Diagnosing) for one in events)
    assert json.loads((out / "findings.json").read_text())["verdict"] != "healthy"
    assert not list(out.glob("*-1.*"))
    assert not (out / "repairs.json").exists()


def test_what_has_no_setting_is_told_and_the_training_goes_on(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DIAGNOSE, always(told("dropout-off", cause="dropout-too-strong")))
    out, alone = tmp_path / "run", tmp_path / "alone"
    outcome = trained(images, out, options(**WILD))
    [repair] = repairs_of(out)
    assert (repair["outcome"], repair["cause"], repair["changes"]) == (
        "left",
        "dropout-too-strong",
        [],
    )
    assert "the recipe has no setting for it" in repair["reason"]
    assert "nothing was changed" in outcome.sentences[0]
    assert not (out / "recipe-1.yaml").exists()
    # It goes on from the step of the alarm as if nobody had asked.
    trained(images, alone, options(None, **WILD))
    assert results(out)[:3] == results(alone)[:3]


def test_a_healthy_run_is_the_same_bit_for_bit(images: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    trained(images, tmp_path / "with", options(2), events.append)
    trained(images, tmp_path / "without", options(None))
    assert results(tmp_path / "with") == results(tmp_path / "without")
    assert not any(isinstance(one, (Alarmed, Diagnosing, Answered)) for one in events)
    names = [{path.name for path in (tmp_path / one).iterdir()} for one in ("with", "without")]
    assert names[0] == names[1]


# -- the limit -------------------------------------------------------------------------------------


def test_repairs_that_do_not_help_end_the_run_honestly(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DIAGNOSE, always(told("weight-decay-off", cause="weight-decay-too-strong")))
    out = tmp_path / "run"
    events: list[Event] = []
    asked = options(1, **{**WILD, "weight_decay": 1e-5, "ema_decay": 0.0})
    with pytest.raises(RepairsUsedUp, match=r"repaired once, which is the limit.*diagnosis-2.json"):
        trained(images, out, asked, events.append)
    assert [one["outcome"] for one in repairs_of(out)] == ["repaired", "stopped"]
    assert (out / "diagnosis-2.json").exists()
    assert not (out / "evaluation.json").exists()
    shown = [one for one in events if isinstance(one, Answered)]
    assert [(one.made, one.allowed) for one in shown] == [(1, 1), (1, 1)]
    # As often as it is asked to go on, with as many repairs.
    with pytest.raises(RepairsUsedUp, match="which is the limit"):
        gone_on(images, out, most=1)
    outcome = gone_on(images, out, most=None)
    assert outcome.evaluation.balanced_accuracy < 0.5
    assert recipe_of(out / "recipe-1.yaml")["weight_decay"] == 0.0


def test_an_end_without_repairs_left_is_told(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DIAGNOSE, always(told("rate-ten-times")))
    # Too few steps for an alarm: what the end shows is not diagnosed where no repair is allowed.
    outcome = trained(images, tmp_path / "run", options(0, learning_rate=1e-9, epochs=3))
    assert "The training ended collapsed, and no repair was left" in outcome.sentences[0]
    assert not (tmp_path / "run" / "repairs.json").exists()


def test_a_run_that_stopped_goes_on_with_more_repairs(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DIAGNOSE, always(told("rate-tenth")))
    out = tmp_path / "run"
    with pytest.raises(RepairsUsedUp, match="No repair is allowed"):
        trained(images, out, options(0, **WILD))
    outcome = gone_on(images, out, most=1)
    assert outcome.evaluation.never_predicted == ()
    assert [one["outcome"] for one in repairs_of(out)] == ["repaired"]


def test_a_loss_that_is_no_number_is_repaired_or_told(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wild = {"normalisation": "raw", "optimizer": "sgd", "learning_rate": 100.0}
    wild |= {"warmup_fraction": 0.0, "epochs": 3}
    monkeypatch.setattr(DIAGNOSE, always(told("adam")))
    outcome = trained(images, tmp_path / "adam", options(**wild))
    [repair] = repairs_of(tmp_path / "adam")
    assert (repair["verdict"], repair["outcome"]) == ("diverged", "repaired")
    assert outcome.evaluation.n > 0
    monkeypatch.setattr(DIAGNOSE, always(told()))
    with pytest.raises(NonFiniteLoss, match="The batch's files"):
        trained(images, tmp_path / "none", options(**wild))
    [repair] = repairs_of(tmp_path / "none")
    assert repair["outcome"] == "stopped"


# -- back to the last good point -------------------------------------------------------------------


@pytest.fixture
def spike(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate of 50 after the fourth of ten epochs, for as long as the recipe's rate is the old one:
    the training learns, then collapses."""

    def rate(step: int, *, n_steps: int, peak: float, **course: object) -> float:
        if peak >= 0.05 and step >= 0.4 * n_steps:
            return 50.0
        return learning_rate_at(step, n_steps=n_steps, peak=peak, **course)  # type: ignore[arg-type]

    monkeypatch.setattr("everyclass.workflows.job.learning_rate_at", rate)
    monkeypatch.setattr(DIAGNOSE, always(told("rate-tenth")))


LATE = {
    "model": "test_resnet",
    "image_size": 32,
    "batch_size": 16,
    "optimizer": "sgd",
    "learning_rate": 0.05,
    "epochs": 12,
}


@pytest.mark.usefixtures("spike")
def test_a_late_collapse_goes_back_to_the_last_good_epoch(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    events: list[Event] = []
    outcome = trained(images, out, options(**LATE), events.append)
    [repair] = repairs_of(out)
    assert repair["since_step"] >= repair["from_step"] > 0
    assert repair["from_step"] % steps_an_epoch(events) == 0
    assert (out / repair["checkpoint"]).exists()
    assert outcome.evaluation.never_predicted == ()
    lines = list(RunFolder(out).read_metrics())
    assert [line["epoch"] for line in lines] == list(range(12))
    before = [json.loads(line) for line in (out / "metrics-1.jsonl").read_text().splitlines()]
    good = [line for line in before if line["step"] <= repair["from_step"]]
    assert lines[: len(good)] == good
    # Interrupted right after, it goes back to the same point.
    again = tmp_path / "again"

    def interrupt(event: Event) -> None:
        if isinstance(event, Answered):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(images, again, options(**LATE), interrupt)
    gone_on(images, again)
    assert results(again) == results(out)
    # Without that point nothing can be said to be the same training.
    (again / "evaluation.json").unlink()
    for path in (again / "checkpoints").rglob("step-*.pt"):
        path.unlink()
    with pytest.raises(InputError, match="missing or damaged"):
        gone_on(images, again)


# -- interrupted = uninterrupted -------------------------------------------------------------------


@pytest.fixture(scope="module")
def uninterrupted(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DIAGNOSE, always(told("rate-tenth")))
        trained(images, out, options(**WILD, ema_decay=0.9, augmentation=["crop"]))
    return out


class StopAt:
    """Raises at the n-th event of a kind."""

    def __init__(self, kind: type, number: int, after: type | None = None) -> None:
        self.kind, self.left, self.after = kind, number, after

    def __call__(self, event: Event) -> None:
        if self.after is not None and isinstance(event, self.after):
            self.after = None
        elif self.after is None and isinstance(event, self.kind):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


@pytest.mark.parametrize(
    "moment",
    [
        StopAt(StepsDone, 22),  # before the alarm, between two looks at the watch
        StopAt(Diagnosing, 2),  # as a trial begins
        StopAt(Answered, 1),
        StopAt(StepsDone, 1, after=Answered),  # the repaired training has no checkpoint yet
        StopAt(StepsDone, 30, after=Answered),
        StopAt(EpochDone, 2, after=Answered),
    ],
    ids=lambda one: f"{one.kind.__name__}-{one.left}{'-repaired' if one.after else ''}",
)
def test_interrupted_around_a_repair_and_resumed_equals_uninterrupted(
    moment: StopAt,
    images: Path,
    uninterrupted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DIAGNOSE, always(told("rate-tenth")))
    monkeypatch.setattr("everyclass.workflows.clock.VIEW_SECONDS", 0.0)  # an event each step
    out = tmp_path / "run"
    asked = options(**WILD, ema_decay=0.9, augmentation=["crop"], checkpoint_seconds=0.0)
    with pytest.raises(KeyboardInterrupt):
        trained(images, out, asked, moment)
    gone_on(images, out)
    assert results(out) == results(uninterrupted)


def test_a_signal_between_two_trials_stops_and_keeps_everything(
    images: Path, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import signal

    monkeypatch.setattr(DIAGNOSE, always(told("rate-tenth")))
    out = tmp_path / "run"

    def interrupt(event: Event) -> None:
        if isinstance(event, Diagnosing) and event.trial:
            os.kill(os.getpid(), signal.SIGTERM)

    asked = options(**WILD, ema_decay=0.9, augmentation=["crop"])
    with pytest.raises(InterruptedTraining, match="before its alarm was answered"):
        trained(images, out, asked, interrupt)
    assert not (out / "repairs.json").exists()
    gone_on(images, out, on_event=quiet)
    assert results(out) == results(uninterrupted)
