"""What pretrained weights change in a recipe: the model, what of it is trained, for how long.

Comes in: weights that were found on this machine, wishes, the size of the data set. Goes out:
decisions with reasons. Looks for no weights and knows no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from everyclass.errors import InputError
from everyclass.recipe import Decision
from everyclass.settings import FineTuning, Settings, is_function

LOCAL_MODEL = "tf_efficientnet_lite0"
"""What `--pretrained` trains where its weights are on this machine and no other is named."""

LARGEST_SIDE_PRETRAINED = 128
"""Pixels, without an accelerator. From scratch it is less: those trainings need more passes."""


FEW_IMAGES = 500
HEAD_VIEWS, HEAD_EPOCHS, MOST_HEAD_EPOCHS = 16_000, 10, 100
IMAGE_VIEWS, LEAST_EPOCHS, MOST_EPOCHS = 10_000, 3, 10
RATE_SHARE = 0.25


NOT_UNASKED = (
    "features of ImageNet helped on waste photos, and on blood cells they were no better than five "
    "epochs from scratch (benchmarks/RESULTS.md)"
)
"""Why pretrained weights are used where they are asked for, and not wherever they are at hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalWeights:
    """Pretrained weights in a file of this machine.

    Attributes:
        model: name of the timm model.
        path: of the file.
        source: where it comes from, in words.
        licence: as the source states it.
        side: of the images that they were trained on, pixels.
    """

    model: str
    path: str
    source: str
    licence: str
    side: int

    @property
    def words(self) -> str:
        """Name, source and licence."""
        return f"{self.model}, ImageNet, from {self.source} (licence: {self.licence})"


MIXING = ("mixup", "cutmix", "remix")
"""Names of augmentations and corrections that mix the images of a batch."""


def usable(wanted: Mapping[str, Any], local: LocalWeights | None) -> LocalWeights | None:
    """The local weights, if pretrained ones are asked for and these fit.

    Args:
        wanted: settings by name that the user gave.
        local: of the model that was asked for, or of `LOCAL_MODEL`.
    """
    if local is None or not wanted.get("pretrained") or wanted.get("weights_file") is not None:
        return None
    return local if wanted.get("model", local.model) == local.model else None


def is_pretrained(wanted: Mapping[str, Any], local: LocalWeights | None) -> bool:
    """Whether training begins with pretrained weights; `local` is what `usable` gave."""
    given = wanted.get("weights_file") is not None
    return bool(wanted.get("pretrained", given or local is not None))


def weight_decisions(
    wanted: Mapping[str, Any], local: LocalWeights | None, scratch: Decision
) -> list[Decision]:
    """Model, and where its first weights come from.

    Args:
        wanted: settings by name that the user gave.
        local: of the model that was asked for, or of `LOCAL_MODEL`; used or not.
        scratch: the model when they are not used.
    """
    used = usable(wanted, local)
    if used is not None:
        why = f"on this machine: {used.words}"
        return [
            _own("model", used.model, "its pretrained weights are on this machine"),
            _own("pretrained", False, NOT_UNASKED),
            _own("weights_file", used.path, why),
        ]
    given = wanted.get("weights_file") is not None
    reason = "nothing is downloaded unless asked for with --pretrained or --weights-file"
    if given:
        reason = "a file with weights was given"
    elif local is not None and "pretrained" not in wanted:
        reason = f"{NOT_UNASKED}; --pretrained uses those that are at hand: {local.words}"
    return [
        scratch,
        _own("pretrained", given, reason),
        _own("weights_file", None, "no local weights were named, or are used"),
    ]


def _own(name: str, value: Any, reason: str) -> Decision:
    return Decision(name=name, value=value, reason=reason, origin="default")


def fine_tuning(
    wanted: Mapping[str, Any], *, pretrained: bool, n_train: int, ratio: float
) -> Decision:
    """What is trained.

    Args:
        wanted: settings by name that the user gave.
        pretrained: whether the network has pretrained weights.
        n_train: training images.
        ratio: of the largest class to the smallest.
    """
    if not pretrained:
        reason = "a network from scratch has nothing to keep"
        return _own("fine_tuning", "full", reason)
    asked = {*wanted.get("imbalance", ()), *wanted.get("augmentation", ())}
    impossible = bool(asked & {"ldam-drw", *MIXING}) or wanted.get("ema_decay", 0) > 0
    few = n_train < FEW_IMAGES and not impossible
    value: FineTuning = "head" if few else "full"
    reason = (
        f"{n_train:,} training images are fewer than {FEW_IMAGES:,}, too few to move millions of "
        "weights by (a rule of thumb, not measured here)"
        if few
        else f"{n_train:,} training images, classes of ratio {ratio:.0f}: at 64 px "
        "and 3 epochs it reached a balanced accuracy of 0.86 on 1,960 blood cells and 0.82 on "
        "1,718 waste photos, head 0.66 and 0.73 in a third of the time (benchmarks/RESULTS.md)"
    )
    return Decision(name="fine_tuning", value=value, reason=reason, origin="audit")


def epochs_of(mode: FineTuning, n_train: int) -> Decision:
    """Passes over the training images, or over their features."""
    if mode == "head":
        value = min(MOST_HEAD_EPOCHS, max(HEAD_EPOCHS, round(HEAD_VIEWS / max(n_train, 1))))
        reason = (
            f"of the last layer over cached features, about {HEAD_VIEWS:,} of them, at least "
            f"{HEAD_EPOCHS} and at most {MOST_HEAD_EPOCHS} passes; twice as many gave nothing more"
        )
    else:
        value = min(MOST_EPOCHS, max(LEAST_EPOCHS, round(IMAGE_VIEWS / max(n_train, 1))))
        reason = (
            f"about {IMAGE_VIEWS:,} image views, at least {LEAST_EPOCHS} and at most "
            f"{MOST_EPOCHS} passes over {n_train:,} images: the network can see already"
        )
    return Decision(name="epochs", value=value, reason=reason, origin="audit")


def rate_of(mode: FineTuning, rate: float, rule: str) -> tuple[float, str]:
    """The peak rate and its rule in words, from those of a training from scratch."""
    if mode == "head":
        return rate, rule
    return float(f"{RATE_SHARE * rate:.3g}"), (
        f"{RATE_SHARE:g} of the rate from scratch ({rule}): pretrained layers are near a good place"
    )


def refuse_contradictions(settings: Settings) -> None:
    """Raise InputError where pretrained weights and another setting exclude each other."""
    mode = settings.fine_tuning
    if settings.weights_file and not settings.pretrained:
        raise InputError(
            "A file with weights is named, and pretrained weights are not wanted.",
            remedy="Leave --weights-file or --no-pretrained away.",
        )
    if settings.pretrained and is_function(settings.model):
        raise InputError(
            f"{settings.model} gives its network the weights that it begins with; --pretrained and "
            "--weights-file are for models of timm and torchvision.",
            remedy="Load them in that function, and leave both away.",
        )
    if settings.model == "tutorial" and settings.pretrained:
        raise InputError(
            "The tutorial's network has no pretrained weights.",
            remedy="Leave --pretrained and --weights-file away, or choose another --model.",
        )
    if settings.normalisation == "backbone" and not settings.pretrained:
        raise InputError(
            "--normalisation backbone needs pretrained weights: an untrained backbone has no "
            "statistics of its own.",
            remedy="Add --pretrained or --weights-file, or use --normalisation dataset.",
        )
    if mode != "full" and not settings.pretrained:
        raise InputError(
            f"--fine-tuning {mode} keeps weights of the network as they are, and these are random.",
            remedy="Add --pretrained or --weights-file, or leave --fine-tuning away.",
        )
    if mode == "head" and settings.ema_decay > 0:
        raise InputError(
            "--fine-tuning head learns one layer to its end; there is nothing to average, and "
            f"ema_decay is {settings.ema_decay:g}.",
            remedy="Set ema_decay to 0, or use --fine-tuning light.",
        )
    if mode == "head" and "ldam-drw" in settings.imbalance:
        raise InputError(
            "--fine-tuning head learns a linear layer, and ldam-drw needs one of cosines.",
            remedy="Choose another --imbalance, or --fine-tuning full.",
        )
    mixing = [one for one in (*settings.augmentation, *settings.imbalance) if one in MIXING]
    if mode == "head" and mixing:
        raise InputError(
            f"--fine-tuning head learns from features that are computed once, and {mixing[0]} "
            "mixes images.",
            remedy=f"Leave {mixing[0]} away, or use --fine-tuning light.",
        )
