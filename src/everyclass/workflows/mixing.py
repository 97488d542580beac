"""How a training mixes the images of a batch: mixup, CutMix, remix, by name.

Comes in: names of a recipe, images per class. Goes out: what `steps` does to a batch that is mixed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from everyclass.imbalance.mixing import Mixed, cutmix, mixup, remix
from everyclass.training.steps import Mix


def mix_of(names: Collection[str], counts: Sequence[int]) -> Mix | None:
    """What is done to a mixed batch; None where nothing is mixed.

    Args:
        names: of augmentations and corrections; mixup, cutmix and remix are looked for. Of mixup
            and cutmix together one is drawn for each batch.
        counts: training images of each class, each > 0.
    """
    wanted = [name for name in ("mixup", "cutmix", "remix") if name in names]
    if not wanted:
        return None
    n_classes, images = len(counts), torch.tensor(counts)

    def mix(inputs: Tensor, targets: Tensor, generator: torch.Generator) -> Mixed:
        if "remix" in wanted:
            return remix(inputs, targets, images, generator=generator)
        which = int(torch.randint(len(wanted), (), generator=generator))
        method = mixup if wanted[which] == "mixup" else cutmix
        return method(inputs, targets, n_classes=n_classes, generator=generator)

    return mix
