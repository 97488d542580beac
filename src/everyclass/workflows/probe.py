"""The last layer of a pretrained network, learned on features that are computed once.

Comes in: a job whose network has pretrained weights. Goes out: its classifier with a last layer
that fits the classes: the whole training of `fine_tuning = head`, and where the other two begin.
Images are drawn and the loss is corrected as the recipe says, so the prior that the logits imply is
the one of any training. Every draw is named by its place: what was interrupted is done again alike.

Source of beginning with the head: Kumar et al. 2022, arXiv:2202.10054 (a random one would first
spoil the features).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from everyclass.errors import InputError
from everyclass.models.backbones import last_layer
from everyclass.run_folder import write_atomically
from everyclass.seeding import stream_seed
from everyclass.settings import Settings
from everyclass.training.batches import Rows
from everyclass.training.fabric import Fabric
from everyclass.training.optim import build_optimizer
from everyclass.workflows.epoch import judged, metrics_line, score_of, validation_figures
from everyclass.workflows.events import EpochDone, Event, FeaturesMade, TrainingStarted
from everyclass.workflows.features import features_of
from everyclass.workflows.inference import make_fabric
from everyclass.workflows.job import (
    InterruptedTraining,
    Job,
    NonFiniteLoss,
    Progress,
    rate_course,
)

VIEWS = 2
"""Of each training image: as it is, and augmented; one where nothing is augmented."""

MOST_BYTES = 2**32
"""Of features in memory; more images than fit get fewer views, one at least."""

FIRST_HEAD = {
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
    "schedule": "cosine",
    "batch_size": 64,
    "clip_norm": 0.0,
}
FIRST_VIEWS, FIRST_EPOCHS = 32_000, 10
"""How the head is learned that light and full fine-tuning begin with: about so many views, in at
least so many passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Features:
    """Of one job.

    Args:
        train: (V, N, D) float32, less `mean` and divided by `scale`.
        targets: (N,) int64.
        val, val_targets: of the validation images, (M, D) and (M,).
        mean: (D,) of the training features.
        scale: their deviation, pooled over all features.
    """

    train: Tensor
    targets: Tensor
    val: Tensor
    val_targets: Rows
    mean: Tensor
    scale: float


def fit_head(job: Job, *, stop: Callable[[], bool], on_event: Callable[[Event], None]) -> Progress:
    """Train the last layer alone; the best weights are in `run.best_weights` then.

    Args:
        job: its settings say epochs, optimizer, rate, batch size, selection.
        stop: asked after every batch of features and every epoch.
        on_event: told what happens, in order.
    Raises:
        InterruptedTraining: `stop()` was true; a resumed run begins again and ends alike.
        NonFiniteLoss: the loss is NaN or infinite.
    """
    settings, table = job.settings, job.table
    torch.set_num_threads(settings.threads)
    fabric = make_fabric(device=settings.device, precision=settings.precision)
    job.classifier.to(fabric.device)
    n_train = int(table.counts("train").sum())
    steps = math.ceil(n_train / settings.batch_size)
    job.run.cut_metrics(after_step=0)
    on_event(
        TrainingStarted(
            classes=table.classes,
            counts=tuple(int(count) for count in table.counts("train")),
            n_steps=steps * settings.epochs,
            first_step=0,
            epochs=settings.epochs,
            weights=job.weights,
        )
    )
    _, layer = last_layer(job.classifier.network, settings.model, len(table.classes))
    begin = time.monotonic()
    features = _features(job, layer, fabric=fabric, stop=stop, on_event=on_event)
    progress = Progress()
    for epoch, (head, loss) in enumerate(_learned(features, job, settings)):
        if not math.isfinite(loss):
            raise NonFiniteLoss(
                f"The loss of the last layer became {loss} in epoch {epoch + 1}. Train again with "
                f"a lower --learning-rate (it was {settings.learning_rate:g})."
            )
        progress.step = (epoch + 1) * steps
        event = _validated(job, head, features, loss, epoch, progress, time.monotonic() - begin)
        if event.best:
            progress.best_score = score_of(event, settings.selection)
            progress.best_epoch = epoch
            progress.epochs_without_gain = 0
            _put(layer, head, features)
            write_atomically(job.run.best_weights, _weights(job))
        else:
            progress.epochs_without_gain += 1
        rate = rate_course(settings, n_steps=steps * settings.epochs)(progress.step - 1)
        job.run.append_metrics(metrics_line(event, table.classes, rate))
        on_event(event)
        if 0 < settings.early_stop_epochs <= progress.epochs_without_gain:
            break
        if stop():
            raise InterruptedTraining(
                f"Stopped after epoch {epoch + 1}; a resumed run learns the last layer again, "
                "which takes seconds, and ends as it would have."
            )
    return progress


def begin_with_head(
    job: Job,
    *,
    fabric: Fabric,
    stop: Callable[[], bool] = lambda: False,
    on_event: Callable[[Event], None] = lambda _: None,
) -> None:
    """Give a job with its first weights the head that a fine-tuning begins with.

    It is kept in the run, so that whoever goes back to the first weights has the same. Trainings
    from scratch are left as they are.

    Raises:
        InterruptedTraining: `stop()` was true.
    """
    settings = job.settings
    if not settings.pretrained or settings.fine_tuning == "head" or job.cosine_head:
        return
    try:
        _, layer = last_layer(job.classifier.network, settings.model, len(job.table.classes))
    except InputError:
        return  # the loop trains whatever ends the network, from random weights
    number = job.run.repair  # each repair may have changed what the head is learned by
    path = job.run.store / f"first-head-{number}.safetensors"
    if path.exists():
        kept = safetensors.torch.load(path.read_bytes())
    else:
        job.classifier.to(fabric.device)
        features = _features(job, layer, fabric=fabric, stop=stop, on_event=on_event)
        epochs = max(FIRST_EPOCHS, round(FIRST_VIEWS / max(1, len(features.targets))))
        update = {**FIRST_HEAD, "epochs": epochs}
        *_, (head, _) = _learned(features, job, settings.model_copy(update=update))
        weight, bias = _folded(head, features)
        kept = {"weight": weight.contiguous(), "bias": bias.contiguous()}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, safetensors.torch.save(kept))
    with torch.no_grad():
        layer.weight.copy_(kept["weight"])
        if layer.bias is not None:
            layer.bias.copy_(kept["bias"])


def _features(
    job: Job,
    layer: nn.Linear,
    *,
    fabric: Fabric,
    stop: Callable[[], bool],
    on_event: Callable[[Event], None],
) -> _Features:
    labels, codes, kinds = job.table.labels(), job.table.split_codes(), job.settings.augmentation
    rows = [np.flatnonzero(codes == code).astype(np.int64) for code in (0, 1)]
    size = 4 * layer.in_features * len(rows[0])
    views = max(1, min(VIEWS, MOST_BYTES // size)) if kinds else 1
    total, done = views * len(rows[0]) + len(rows[1]), 0

    def after(images: int) -> None:
        nonlocal done
        done += images
        on_event(FeaturesMade(done=done, total=total, views=views))
        if stop():
            raise InterruptedTraining(
                f"Stopped with the features of {done:,} of {total:,} views of images; a resumed "
                "run computes them again."
            )

    def made(part: Rows, view: int) -> Tensor:
        own = kinds if view else ()
        return features_of(job, layer, part, fabric=fabric, kinds=own, view=view, after=after)

    train = torch.stack([made(rows[0], view) for view in range(views)])
    flat = train.flatten(0, 1)
    mean = flat.mean(dim=0)
    # One scale for all: a feature that hardly ever fires on these images would get a weight that
    # makes the loss explode as soon as the layers below it move, or an unseen image makes it fire.
    scale = float((flat - mean).pow(2).mean().sqrt()) or 1.0
    return _Features(
        train=(train - mean) / scale,
        targets=torch.from_numpy(labels[rows[0]]),
        val=(made(rows[1], 0) - mean) / scale,
        val_targets=labels[rows[1]],
        mean=mean,
        scale=scale,
    )


def _learned(
    features: _Features, job: Job, settings: Settings
) -> Iterator[tuple[nn.Linear, float]]:
    """The head after each epoch, the same object, and the mean loss of that epoch.

    Args:
        settings: of this learning; those of the job say which epochs its correction knows.
    """
    views, n, width = features.train.shape
    head = nn.Linear(width, len(job.table.classes))
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = build_optimizer(
        settings.optimizer,
        head,
        learning_rate=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    steps = math.ceil(n / settings.batch_size)
    rate = rate_course(settings, n_steps=steps * settings.epochs)
    device, seed = job.classifier.mean.device, settings.seed
    for epoch in range(settings.epochs):
        known = epoch % job.settings.epochs
        order = torch.from_numpy(np.asarray(job.correction.epoch_order(known)))
        random = np.random.default_rng(stream_seed(seed, "views", epoch))
        drawn = torch.from_numpy(random.integers(views, size=len(order)))
        loss_of, total = job.correction.loss_at(known), 0.0
        for step in range(steps):
            some = slice(step * settings.batch_size, (step + 1) * settings.batch_size)
            rows = order[some]
            for group in optimizer.param_groups:
                group["lr"] = rate(epoch * steps + step)
            optimizer.zero_grad(set_to_none=True)
            with torch.enable_grad():
                logits = head(features.train[drawn[some], rows])
                # The loss has its constants where the network computes.
                loss = loss_of(logits.to(device), features.targets[rows].to(device))
                loss.backward()  # type: ignore[no-untyped-call]
            if settings.clip_norm > 0:
                nn.utils.clip_grad_norm_(head.parameters(), settings.clip_norm)
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        yield head, total / len(order)


def _folded(head: nn.Linear, features: _Features) -> tuple[Tensor, Tensor]:
    """Weight and bias on features as the network gives them."""
    with torch.no_grad():
        weight = head.weight / features.scale
        return weight, head.bias - weight @ features.mean


def _put(layer: nn.Linear, head: nn.Linear, features: _Features) -> None:
    weight, bias = _folded(head, features)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)


def _weights(job: Job) -> bytes:
    return safetensors.torch.save(
        {
            key: value.detach().cpu().contiguous()
            for key, value in job.classifier.state_dict().items()
        }
    )


def _validated(
    job: Job,
    head: nn.Linear,
    features: _Features,
    loss: float,
    epoch: int,
    progress: Progress,
    seconds: float,
) -> EpochDone:
    with torch.no_grad():
        logits = head(features.val).numpy()
    shift = job.correction.log_shift_to_natural
    event = EpochDone(
        step=progress.step,
        epoch=epoch,
        epochs=job.settings.epochs,
        train_loss=loss,
        best=False,
        images_per_second=(epoch + 1) * features.train.shape[1] / max(seconds, 1e-9),
        seconds=seconds,
        **validation_figures(logits, features.val_targets, shift),
    )
    return judged(event, job.settings.selection, progress.best_score)
