"""`everyclass demo`: the same images, split and seed; a training that collapses, and ours.

Comes in: a folder and the name of a data set. Goes out: two runs and their evaluations. The
failing one is the beginner's tutorial with its two usual mistakes: raw values from 0 to 255, and a
loss that knows nothing of the imbalance.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from everyclass.contracts import Evaluation
from everyclass.errors import InputError
from everyclass.images.synthetic import write_demo_images
from everyclass.workflows.cores import usable_cores
from everyclass.workflows.demo_data import write_digits, write_fashion_mnist
from everyclass.workflows.events import Event
from everyclass.workflows.prepare import DataSource
from everyclass.workflows.repair import RepairOptions
from everyclass.workflows.train import TrainOptions, train

DemoData = Literal["tissue", "digits", "fashion-mnist"]

FAILING: Mapping[str, Any] = MappingProxyType({"normalisation": "raw", "imbalance": ()})
OURS: Mapping[DemoData, Mapping[str, Any]] = MappingProxyType(
    {
        "tissue": {"epochs": 5, "augmentation": ("crop", "flip", "vertical-flip")},
        "digits": {"epochs": 12, "augmentation": ("crop",)},
        "fashion-mnist": {"epochs": 5, "augmentation": ("crop", "flip")},
    }
)
"""What differs from the defaults: a budget that fits two minutes, and flips only where they keep
the label (a mirrored 5 is no 5; tissue has no up and down)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRun:
    """One of the two trainings."""

    title: str
    folder: Path
    evaluation: Evaluation
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """Both trainings on the same split, and where everything is."""

    data: DemoData
    source: Path
    failing: DemoRun
    ours: DemoRun

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the two evaluations and their folders."""
        return {
            "data": self.data,
            "source": str(self.source),
            **{
                name: {
                    "folder": str(run.folder),
                    "seconds": round(run.seconds, 1),
                    "evaluation": run.evaluation.to_dict(),
                }
                for name, run in (("failing", self.failing), ("ours", self.ours))
            },
        }


def run_demo(
    out: Path,
    *,
    data: DemoData,
    on_event: Callable[[Event], None],
    on_stage: Callable[[str], None],
) -> DemoResult:
    """Write the images, train twice, and return both evaluations.

    Args:
        out: holds `images/` and the two runs; runs of an earlier demo are replaced.
        on_stage: told in a sentence what comes next.
    Raises:
        InputError: `out` holds something else, or a data set that cannot be had.
    """
    _check_folder(out)
    on_stage(f"Writing the images to {out / 'images'} ...")
    source = _write_images(out / "images", data)
    on_stage(
        "1 of 2: the tutorial's network on raw values from 0 to 255, with no thought of imbalance."
    )
    failing = _run(
        "tutorial",
        source,
        out / "run-tutorial",
        TrainOptions(
            wishes=_failing_wishes(data),
            preset="tutorial",
            overwrite=True,
            repair=RepairOptions(most=None),
        ),
        on_event,
    )
    on_stage("2 of 2: everyclass, on the same images and the same split.")
    ours = _run(
        "everyclass",
        source,
        out / "run-everyclass",
        TrainOptions(wishes=OURS[data], overwrite=True),
        on_event,
    )
    return DemoResult(data=data, source=source, failing=failing, ours=ours)


def _failing_wishes(data: DemoData) -> dict[str, Any]:
    # 8-px digits and 28-px clothes carry no more at 256 px, and the demo should stay quick.
    return {**FAILING, **({} if data == "tissue" else {"image_size": 64})}


def _run(
    title: str,
    source: Path,
    folder: Path,
    options: TrainOptions,
    on_event: Callable[[Event], None],
) -> DemoRun:
    started = time.monotonic()
    outcome = train(DataSource(source=str(source)), folder, options, on_event=on_event)
    return DemoRun(
        title=title,
        folder=folder,
        evaluation=outcome.evaluation,
        seconds=time.monotonic() - started,
    )


def _check_folder(out: Path) -> None:
    known = {"images", "run-tutorial", "run-everyclass"}
    if out.exists() and (not out.is_dir() or {entry.name for entry in out.iterdir()} - known):
        raise InputError(
            f"{out} holds something that is not from a demo.", remedy="Choose another --out."
        )


def _write_images(folder: Path, data: DemoData) -> Path:
    if data == "digits":
        return write_digits(folder, seed=0)
    if data == "fashion-mnist":
        return write_fashion_mnist(folder, seed=0)
    return write_demo_images(folder, seed=0, threads=usable_cores())
