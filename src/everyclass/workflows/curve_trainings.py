"""The trainings of a learning curve: planned, run once each, and read.

Comes in: all images, prepared, with the recipe of the curve. Goes out: which test images each
training gets right. Fits nothing.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from everyclass.errors import EveryclassError, InputError
from everyclass.images.subsets import nested_subset, one_class_subset
from everyclass.images.table import SPLITS, SplitName
from everyclass.run_folder import RunFolder
from everyclass.stats.learning_curve import Halved
from everyclass.training.batches import steps_per_epoch
from everyclass.workflows.compute import seconds_a_step
from everyclass.workflows.events import Event
from everyclass.workflows.job import InterruptedTraining
from everyclass.workflows.prepare import Prepared
from everyclass.workflows.train import Materials, TrainOptions, train_prepared

FORWARD_SHARE = 0.35
"""Of the time of a step: an image that is only looked at, in validation and test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What is ahead, before anything is trained.

    Attributes:
        trainings: in all; `finished` of them are there already.
        seconds: of one, about.
    """

    trainings: int
    finished: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One training of the curve.

    Attributes:
        name: of its folder below `out`.
        words: what it is trained on.
        rows: of the whole table.
        counts: (C,) training images of each class.
        epochs: that give the steps of the whole training.
        seed: of first weights and order.
    """

    name: str
    words: str
    rows: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    epochs: int
    seed: int


class CurveTrainings:
    """Plans, trains and reads the runs of one curve.

    Args:
        whole: all images, with the recipe of the curve.
        out: folder of the runs.
    """

    def __init__(
        self,
        whole: Prepared,
        out: Path,
        options: TrainOptions,
        on_run: Callable[[Planned], None],
        on_event: Callable[[Event], None],
    ) -> None:
        self._whole, self._out, self._options = whole, out, options
        self._on_run, self._on_event = on_run, on_event
        self._settings = whole.recipe.settings
        self.split: SplitName = "test" if whole.table.has_split("test") else "val"
        self.notes: list[str] = []
        self._thin = np.zeros(len(whole.table.classes), dtype=bool)

    def leave_out_thin(self, counts: npt.NDArray[np.float64]) -> None:
        """Tell of classes that have as many images at one share as at the next: no curve.

        Args:
            counts: (S, C) images at each share.
        """
        self._thin = np.any(np.diff(counts, axis=0) <= 0, axis=0)
        names = [f"'{self._whole.table.classes[k]}'" for k in np.flatnonzero(self._thin)]
        if names:
            self.notes.append(
                f"Too few training images, or groups of them, for a curve: {', '.join(names)}."
            )

    def share_of(self, share: float, repeat: int) -> Planned:
        """On a share of the images of every class."""
        seed = self._settings.seed + repeat
        rows = nested_subset(self._whole.table, share=share, seed=seed)
        words = "all images" if share == 1 else f"{share:g} of the images"
        return self._planned(f"share-{share:g}/repeat-{repeat}", words, rows, seed)

    def half_of(self, label: int, repeat: int) -> Planned:
        """On half the images of one class and all of the others."""
        name, seed = self._whole.table.classes[label], self._settings.seed + repeat
        rows = one_class_subset(self._whole.table, label=label, share=0.5, seed=seed)
        folder = f"half-{label}-{re.sub(r'[^A-Za-z0-9_-]+', '-', name)}/repeat-{repeat}"
        return self._planned(folder, f"half of '{name}', all others", rows, seed)

    def _planned(self, name: str, words: str, rows: npt.NDArray[np.int64], seed: int) -> Planned:
        counts = self._whole.table.take(rows).counts("train")
        epochs = self._settings.epochs * self._whole.table.counts("train").sum() / counts.sum()
        return Planned(
            name=name,
            words=words,
            rows=rows,
            counts=counts,
            epochs=max(1, round(float(epochs))),
            seed=seed,
        )

    def steps(self, planned: Planned) -> int:
        """Optimizer steps of a training."""
        n = int(planned.counts.sum())
        return planned.epochs * steps_per_epoch(n, self._settings.batch_size)

    def cost(self, planned: Sequence[Planned], halves: int) -> Cost:
        """Measured on a few steps; trainings of halved classes are like those on all images."""
        finished = sum(RunFolder(self._out / one.name).evaluation.exists() for one in planned)
        finished += sum(one.exists() for one in self._out.glob("half-*/repeat-*/evaluation.json"))
        trainings = len(planned) + halves
        if finished >= trainings:
            return Cost(trainings=trainings, finished=trainings, seconds=0.0)
        job = Materials.of(self._whole, self._options).job(
            self._whole.recipe, RunFolder(self._out), None
        )
        counts = [int(self._whole.table.counts(split).sum()) for split in SPLITS]
        step = seconds_a_step(job, n_train=counts[0])
        look = step * FORWARD_SHARE / self._settings.batch_size
        each = [self.steps(one) * step + one.epochs * counts[1] * look for one in planned]
        mean = float(np.mean(each)) + (counts[1] + counts[2]) * look
        return Cost(trainings=trainings, finished=finished, seconds=mean)

    def answers(self, planned: Planned) -> npt.NDArray[np.bool_] | None:
        """(N,) which test images the training gets right; None where it did not finish."""
        folder = self._out / planned.name
        if not RunFolder(folder).evaluation.exists():
            self._on_run(planned)
        whole, reason = self._whole, f"as many steps as on all images ({planned.words})"
        recipe = whole.recipe.with_value("epochs", planned.epochs, reason)
        subset = replace(
            whole,
            table=whole.table.take(planned.rows),
            store=whole.store.take(planned.rows),
            contents=whole.contents[planned.rows],
            looks=whole.looks.take(planned.rows),
            recipe=recipe.with_value("seed", planned.seed, "one a repeat"),
        )
        try:
            train_prepared(subset, folder, self._options, on_event=self._on_event)
        except (InputError, InterruptedTraining):
            raise
        except EveryclassError as error:
            self.notes.append(f"{planned.name}: {error}")
            return None
        with open(RunFolder(folder).predictions, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return np.array([row["label"] == row["prediction_balanced"] for row in rows], dtype=bool)

    def worst(self, planned: Sequence[Planned], n: int) -> list[int]:
        """The classes of lowest recall on *validation* images, over trainings on all images.

        Chosen by test images, a class of bad luck there would seem to gain less than it does."""
        names = self._whole.table.classes
        recalls = []
        for one in planned:
            lines = list(RunFolder(self._out / one.name).read_metrics())
            known = max(lines, key=lambda line: (line["best"], line["epoch"]))["recall"]
            recalls.append([np.nan if known[name] is None else known[name] for name in names])
        judged = self._whole.table.counts(self.split) > 0
        mean = np.where(judged & ~self._thin, np.mean(recalls, axis=0), np.nan)
        order = [k for k in np.argsort(mean).tolist() if not np.isnan(mean[k])]
        return order[:n]

    def halved(self, label: int, repeats: Sequence[int]) -> Halved | None:
        """Trainings with half of one class; None where one did not finish."""
        planned = [self.half_of(label, repeat) for repeat in repeats]
        images = int(np.mean([one.counts[label] for one in planned]).round())
        if self._thin[label] or images >= self._whole.table.counts("train")[label]:
            name = self._whole.table.classes[label]
            self.notes.append(f"'{name}' cannot be halved: all its images are of one group.")
            return None
        found = [self.answers(one) for one in planned]
        right = [one for one in found if one is not None]
        if len(right) < len(found):
            return None
        return Halved(label=label, images=images, right=np.array(right))
