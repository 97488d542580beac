"""The moving parts of one training, the same on each process that takes part in it.

Comes in: a job. Goes out: its steps, and logits of its validation images. It knows no watch, no
event and no file; what happens between two steps is decided by `fit`, on the first process, and
done by `follow` on the others.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from everyclass.training.averaging import MovingAverage
from everyclass.training.batches import Batch, Rows, steps_per_epoch, training_batches
from everyclass.training.steps import Mix, StepResult, steps
from everyclass.workflows.inference import logits_of
from everyclass.workflows.job import Job, optimizer_of, rate_course
from everyclass.workflows.launch import fabric_of
from everyclass.workflows.mixing import mix_of


class Word(IntEnum):
    """What the first process tells the others to do next."""

    BEGIN = 1  # a training: number of the repair, step of the checkpoint to begin with or -1
    STEP = 2
    VALIDATE = 3
    OPEN = 4  # the run, now that it is there
    END = 5  # with this exit code


class Stepper:
    """Model, optimizer and batches of a job.

    Attributes:
        fabric: of the training.
        optimizer: wrapped by Fabric.
        average: moving average of the weights, None without.
        step: optimizer steps done.
        resumed: whether it goes on from a checkpoint of its own, optimizer and all.
    """

    def __init__(self, job: Job) -> None:
        settings, table = job.settings, job.table
        self.job, self.processes = job, job.processes
        torch.set_num_threads(max(1, settings.threads // self.processes.local_size))
        self.fabric = fabric_of(settings, self.processes)
        job.classifier.to(self.fabric.device)
        self.average: MovingAverage | None = None
        if settings.ema_decay > 0:
            self.average = MovingAverage(job.classifier, decay=settings.ema_decay)
        codes = table.split_codes()
        self.labels = table.labels()
        self.train_rows: Rows = np.flatnonzero(codes == 0).astype(np.int64)
        self.val_rows: Rows = np.flatnonzero(codes == 1).astype(np.int64)
        self.step = 0
        self.resumed = False

    def load(self, state: dict[str, Any]) -> None:
        """Weights and averages of a checkpoint."""
        self.job.classifier.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def join(self) -> None:
        """Take the weights as they are into training. All processes of a training do it together,
        once the first one has told them to."""
        if self.processes.several and self.processes.first:
            checkpoint = self.step if self.resumed else -1
            self.processes.tell(Word.BEGIN, self.job.run.repair, checkpoint)
        optimizer = optimizer_of(self.job.settings, self.job.classifier)
        # Several processes begin with the weights of the first one: DDP sends them.
        self.model, self.optimizer = self.fabric.setup(self.job.classifier, optimizer)

    def load_optimizer(self, state: dict[str, Any]) -> None:
        """Its state and that of the precision in a checkpoint."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return steps_per_epoch(len(self.train_rows), self.job.settings.batch_size)

    @property
    def n_steps(self) -> int:
        """Of the whole training."""
        return self.per_epoch * self.job.settings.epochs

    def batches(self, *, n_steps: int) -> Iterator[Batch]:
        """Those from the step that is reached to `n_steps`; of each, the images that this process
        computes. Where images are mixed those are all: their partners may be another's."""
        settings, processes = self.job.settings, self.processes
        mixed = self._mix() is not None
        return training_batches(
            self.job.store.gather,
            self.labels,
            lambda epoch: self.train_rows[self.job.correction.epoch_order(epoch)],
            n_images=len(self.train_rows),
            batch_size=settings.batch_size,
            first_step=self.step,
            n_steps=n_steps,
            pinned=self.fabric.device.type == "cuda",
            places=(lambda size: processes.places(size, settings.accumulation))
            if processes.several and not mixed
            else None,
        )

    def results(self, batches: Iterator[Batch]) -> Iterator[StepResult]:
        """Train on each batch."""
        settings = self.job.settings
        found = steps(
            self.model,
            self.optimizer,
            self._told(batches),
            self._loss,
            fabric=self.fabric,
            rate=rate_course(settings, n_steps=self.n_steps),
            seed=settings.seed,
            accumulation=settings.accumulation,
            clip_norm=settings.clip_norm,
            augmentation=settings.augmentation,
            mix=self._mix(),
            average=self.average,
            processes=self.processes,
        )
        for result in found:
            self.step = result.batch.step + 1
            yield result

    def validation_logits(self) -> npt.NDArray[np.float32]:
        """(V, C) of the validation images, each seen by one process; on the others than the first
        those that it saw itself."""
        processes = self.processes
        if processes.several and processes.first:
            processes.tell(Word.VALIDATE)
        evaluated = self.average.module if self.average is not None else self.job.classifier
        rows = processes.share_of_rows(self.val_rows)
        own = logits_of(evaluated, self.job.store.gather, rows, fabric=self.fabric)
        if not processes.several:
            return own
        parts = processes.collected(own)
        if not processes.first:
            return own
        whole = np.empty((len(self.val_rows), len(self.job.table.classes)), dtype=np.float32)
        for rank, part in enumerate(parts):
            if len(part):
                whole[rank :: processes.size] = part
        return whole

    def train_counts(self) -> tuple[int, ...]:
        """Training images of each class."""
        return tuple(int(count) for count in self.job.table.counts("train"))

    def _told(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same; the first process tells the others of each, once it has it."""
        for batch in batches:
            if self.processes.several and self.processes.first:
                self.processes.tell(Word.STEP)
            yield batch

    def _mix(self) -> Mix | None:
        settings = self.job.settings
        return mix_of((*settings.augmentation, *settings.imbalance), self.train_counts())

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """That of the epoch of the step under way."""
        return self.job.correction.loss_at(self.step // self.per_epoch)(logits, targets)


def read_state(checkpoint: bytes) -> dict[str, Any]:
    """What a checkpoint holds, on the processor."""
    state: dict[str, Any] = torch.load(
        io.BytesIO(checkpoint), map_location="cpu", weights_only=True
    )
    return state
