"""What the tests of repairs share: small bad recipes, and diagnoses that cost no trials."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from everyclass.diagnoses import Cause, Diagnosis, Remedy, Trial
from everyclass.findings import CauseId
from everyclass.run_folder import RunFolder
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.events import Event
from everyclass.workflows.finish import Outcome
from everyclass.workflows.repair import RepairOptions
from everyclass.workflows.train import TrainOptions, resume, train

SMALL = {
    "precision": "fp32",  # what would be measured is not the same twice
    "model": "tutorial",
    "image_size": 40,
    "epochs": 6,
    "batch_size": 32,
    "threads": 1,
    "device": "cpu",
}
WILD = {"optimizer": "sgd", "learning_rate": 0.3, "weight_decay": 0.0, "epochs": 14}
"""The network gives every image the same answer from the first steps on; an alarm comes in the
tenth epoch or so."""


class Ticks:
    """A clock on which each look takes a while: what is tried depends on no machine's pace."""

    def __init__(self, seconds: float = 0.004) -> None:
        self.now, self.seconds = 0.0, seconds

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


def quiet(_: Event) -> None:
    pass


def options(
    most: int | None = 2, *, checkpoint_seconds: float = 60.0, **wishes: object
) -> TrainOptions:
    repair = RepairOptions(most=most, clock=Ticks())
    return TrainOptions(
        wishes={**SMALL, **wishes}, repair=repair, checkpoint_seconds=checkpoint_seconds
    )


def trained(
    images: Path, out: Path, asked: TrainOptions, on_event: Callable[[Event], None] = quiet
) -> Outcome:
    return train(DataSource(source=str(images)), out, asked, on_event=on_event)


def gone_on(
    images: Path, out: Path, most: int | None = 2, on_event: Callable[[Event], None] = quiet
) -> Outcome:
    asked = TrainOptions(repair=RepairOptions(most=most, clock=Ticks()))
    return resume(DataSource(source=str(images)), out, asked, on_event=on_event)


def trial(change: str, cause: CauseId, *, proved: bool = True) -> Trial:
    return Trial(
        change=change,
        causes=(cause,) * (change.count(" + ") + 1),
        words=f"the words of {change}",
        steps=100,
        control=0.33,
        changed=0.9,
        gain=0.57,
        ci95=(0.4, 0.7),
        chance=0.33,
        seeds=2,
        images=64,
        missed=(),
        recovered=True,
        proved=proved,
    )


def told(
    *changes: str, cause: CauseId = "learning-rate-too-high", proved: bool = True
) -> Diagnosis:
    """A diagnosis in which these changes were tried."""
    causes = tuple(
        Cause(
            id=cause,
            proved=proved,
            sentence=f"With {one} it is well.",
            trial=trial(one, cause, proved=proved),
        )
        for one in changes
    )
    return Diagnosis(
        verdict="collapsed",
        step=1,
        sentence="The training is collapsed.",
        causes=causes,
        remedies=(Remedy(cause=cause, sentence="Do it."),) if causes else (),
        notes=("Nothing else was tried.",),
    )


def always(diagnosis: Diagnosis) -> Callable[..., Diagnosis]:
    """In the place of `diagnose_case`."""

    def diagnose(*_: Any, on_trial: Callable[[str], None], **__: Any) -> Diagnosis:
        on_trial("control")
        return diagnosis

    return diagnose


def results(run: Path) -> tuple[bytes, list[dict[str, object]], object, list[dict[str, object]]]:
    """What must not depend on interruptions: weights, log and repairs without wall times,
    evaluation."""
    lines = [
        {k: v for k, v in line.items() if k not in ("seconds", "images_per_second")}
        for line in RunFolder(run).read_metrics()
    ]
    repairs = [{k: v for k, v in one.items() if k != "seconds"} for one in repairs_of(run)]
    evaluation = json.loads((run / "evaluation.json").read_text())
    return (run / "model.safetensors").read_bytes(), lines, evaluation, repairs


def repairs_of(run: Path) -> list[dict[str, Any]]:
    path = run / "repairs.json"
    return json.loads(path.read_text())["repairs"] if path.exists() else []
