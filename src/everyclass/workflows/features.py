"""What the last layer gets of each image: the frozen network's features, computed once.

Comes in: a job, rows. Goes out: (N, D) float32 on the processor. Evaluation mode throughout, so no
statistic of the network moves and a feature does not depend on the other images of its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from everyclass.seeding import stream_seed
from everyclass.training.augment import Augmentation, augment
from everyclass.training.batches import Rows, to_images
from everyclass.training.fabric import Fabric
from everyclass.workflows.inference import batches_of
from everyclass.workflows.job import Job


def features_of(
    job: Job,
    layer: nn.Linear,
    rows: Rows,
    *,
    fabric: Fabric,
    kinds: Sequence[Augmentation] = (),
    view: int = 0,
    after: Callable[[int], None] | None = None,
) -> Tensor:
    """The inputs of `layer`, image by image.

    Args:
        job: its classifier, on the device of `fabric`; its mode is put back.
        layer: the last one.
        rows: of the job's table, in the order of the result.
        kinds: random changes of the images; none for the images as they are.
        view: number of these draws; each draws anew, and the same seed and number the same.
        after: told how many images each batch had; may raise.
    Returns:
        (N, D) float32.
    """
    parts, seed = list[Tensor](), job.settings.seed
    training = job.classifier.training
    job.classifier.eval()
    try:
        with _noting(layer, parts):
            for number, part in enumerate(batches_of(rows)):
                images = fabric.to_device(to_images(job.store.gather(part)))
                drawn = stream_seed(seed, "features", view, number)
                generator = torch.Generator().manual_seed(drawn)
                change = partial(augment, kinds=kinds, generator=generator) if kinds else None
                with torch.inference_mode(), fabric.autocast():
                    job.classifier(images, change)
                if after is not None:
                    after(len(part))
    finally:
        job.classifier.train(training)
    return torch.cat(parts) if parts else torch.zeros(0, layer.in_features)


@contextmanager
def _noting(layer: nn.Linear, parts: list[Tensor]) -> Iterator[None]:
    def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        parts.append(inputs[0].detach().float().cpu().clone())

    handle = layer.register_forward_pre_hook(note)
    try:
        yield
    finally:
        handle.remove()
