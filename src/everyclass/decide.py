"""From what the audit saw to every decision of a training, each with its reason.

Comes in: an audit, the machine, and wishes (flags or an edited file). Goes out: a `Recipe`. Pure:
the same inputs give the same recipe. Trains nothing, reads no file, and knows no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from everyclass.errors import InputError
from everyclass.images.audit_values import Audit
from everyclass.images.probe import LARGEST_SIDE_WITHOUT_ACCELERATOR, SIDES, side_for
from everyclass.recipe import Decision, Recipe, show_value
from everyclass.settings import (
    NAMES,
    PRESETS,
    Device,
    FineTuning,
    Imbalance,
    Settings,
    check_wishes,
)
from everyclass.transfer import (
    LARGEST_SIDE_PRETRAINED,
    LocalWeights,
    epochs_of,
    fine_tuning,
    is_pretrained,
    rate_of,
    refuse_contradictions,
    usable,
    weight_decisions,
)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LEAST_STD = 1e-3  # of a channel that hardly varies: dividing by less would magnify noise

IMBALANCED_FROM = 3.0
SHORT_BUDGET_EPOCHS = 40
IMAGE_VIEWS = 60_000
EMA_DECAY = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the recipe may use.

    Args:
        device: where the model runs.
        threads: processor threads for training.
        bf16: whether the device computes in bfloat16 natively. A graphics card trains so at once, a
            processor where measuring shows that it is faster.
    """

    device: Device
    threads: int
    bf16: bool


def choose_side(
    short_sides: Sequence[int], *, device: Device, wish: int | None, pretrained: bool = False
) -> Decision:
    """Side of the square training images, decided before the audit from a sample of headers.

    Args:
        short_sides: shorter side of sampled images, pixels, at least one.
        device: without an accelerator, pixels cost the user's time; the side is capped.
        wish: the user's side.
        pretrained: the network has pretrained weights: it needs fewer passes, and larger images.
    """
    median = int(sorted(short_sides)[len(short_sides) // 2])
    cap = SIDES[-1]
    if device == "cpu":
        cap = LARGEST_SIDE_PRETRAINED if pretrained else LARGEST_SIDE_WITHOUT_ACCELERATOR
    side = side_for(short_sides, cap=cap)
    sample = f"the shorter side of {len(short_sides)} sampled images has median {median} px"
    if side == cap and median > cap:
        limit = "without an accelerator" if device == "cpu" else f"on {device}"
        reason = f"{sample}; {limit} more than {cap} px costs time that epochs use better"
    else:
        reason = f"{sample}; enlarging images adds cost and no detail"
    own = Decision(name="image_size", value=side, reason=reason, origin="audit")
    return own if wish is None else _overruled(own, wish)


def decide(
    audit: Audit,
    *,
    side: Decision,
    machine: Machine,
    wishes: Mapping[str, Any],
    preset: str | None = None,
    local: LocalWeights | None = None,
) -> Recipe:
    """Every decision of a training.

    Args:
        audit: what the data are; statistics at `side`, on the train split.
        side: the decision of `choose_side`.
        machine: what may be used.
        wishes: settings by name that the user gave; they win and are recorded as the user's.
        preset: a name in `PRESETS`; its values count as the user's, below `wishes`.
        local: pretrained weights that are on this machine, of the model asked for if one is.
    Raises:
        InputError: a wish that is not valid, or wishes that contradict each other.
    """
    if preset is not None and preset not in PRESETS:
        raise InputError(
            f"There is no recipe called {preset!r}.",
            remedy=f"Recipes are: {', '.join(PRESETS)}, or a YAML file.",
        )
    wanted = {**(PRESETS[preset] if preset else {}), **check_wishes(wishes, where="options")}
    facts = _Facts(audit=audit, machine=machine, wanted=wanted, local=local)
    decisions: dict[str, Decision] = {"image_size": side}
    for decision in _own_decisions(facts):
        wish = wanted.get(decision.name, decision.value)
        overruled = decision if wish == decision.value else _overruled(decision, wish)
        if preset and decision.name in PRESETS[preset] and decision.name not in wishes:
            overruled = replace(overruled, reason=f"as in the {preset} recipe", origin="user")
        decisions[decision.name] = overruled
    recipe = Recipe(decisions=tuple(decisions[name] for name in NAMES))
    _refuse_contradictions(recipe.settings)
    return recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What decisions look at. `wanted` is here because one choice bears on another: the
    learning rate depends on the optimizer that will be used, asked for or not."""

    audit: Audit
    machine: Machine
    wanted: Mapping[str, Any]
    local: LocalWeights | None

    @property
    def pretrained(self) -> bool:
        return is_pretrained(self.wanted, usable(self.wanted, self.local))

    @property
    def own_fine_tuning(self) -> Decision:
        return fine_tuning(
            self.wanted, pretrained=self.pretrained, n_train=self.n_train, ratio=self.ratio
        )

    @property
    def fine_tuning(self) -> FineTuning:
        chosen: FineTuning = self.final("fine_tuning", self.own_fine_tuning.value)
        return chosen

    @property
    def own_epochs(self) -> Decision:
        n = self.n_train
        if self.pretrained:
            return epochs_of(self.fine_tuning, n)
        return _audited(
            "epochs",
            min(30, max(5, round(IMAGE_VIEWS / max(n, 1)))),
            f"about {IMAGE_VIEWS:,} image views, at least 5 and at most 30 passes over "
            f"{n:,} images",
        )

    @property
    def ratio(self) -> float:
        counts = [count for count in self.train_counts if count > 0]
        return max(counts) / min(counts)

    @property
    def train_counts(self) -> tuple[int, ...]:
        return self.audit.train_counts

    @property
    def n_train(self) -> int:
        return sum(self.train_counts)

    def final(self, name: str, own: Any) -> Any:
        """The value `name` will have: the user's, else `own`."""
        return self.wanted.get(name, own)


def _own_decisions(facts: _Facts) -> list[Decision]:
    return [
        *_model_decisions(facts),
        *_pixel_decisions(facts),
        *_optimizer_decisions(facts),
        *_imbalance_decisions(facts),
        *_selection_decisions(facts),
        *_machine_decisions(facts),
    ]


def _default(name: str, value: Any, reason: str) -> Decision:
    return Decision(name=name, value=value, reason=reason, origin="default")


def _audited(name: str, value: Any, reason: str) -> Decision:
    return Decision(name=name, value=value, reason=reason, origin="audit")


def _overruled(own: Decision, wish: Any) -> Decision:
    if wish == own.value:
        return own
    return Decision(
        name=own.name,
        value=wish,
        reason=f"asked for (our own choice: {show_value(own.value)}, because {own.reason})",
        origin="user",
    )


def _model_decisions(facts: _Facts) -> list[Decision]:
    scratch = _default(
        "model",
        "resnet10t",
        "a small residual network; from scratch in 5 epochs it reached a balanced accuracy of "
        "0.88 on blood cells and 0.69 on waste photos where resnet18 reached 0.84 and 0.61, at "
        "1.8 times the images a second (benchmarks/RESULTS.md)",
    )
    return [*weight_decisions(facts.wanted, facts.local, scratch), facts.own_fine_tuning]


def _pixel_decisions(facts: _Facts) -> list[Decision]:
    audit = facts.audit
    pretrained = facts.pretrained
    own = "backbone" if pretrained else "dataset"
    kind = facts.final("normalisation", own)
    if kind == "dataset":
        mean, std = audit.mean, tuple(max(value, LEAST_STD) for value in audit.std)
        source = f"pooled over the pixels of {facts.n_train:,} training images at the training size"
    elif kind == "imagenet":
        mean, std, source = IMAGENET_MEAN, IMAGENET_STD, "the usual ImageNet constants"
    elif kind == "backbone":
        # Replaced when the backbone is built: only it knows its own constants.
        mean, std, source = IMAGENET_MEAN, IMAGENET_STD, "the backbone's own constants"
    else:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        source = "inputs stay in " + ("[0, 1]" if kind == "none" else "[0, 255], unscaled")
    return [
        _default(
            "normalisation",
            own,
            "pretrained weights expect the statistics they were trained with"
            if pretrained
            else "from scratch, the data set's own statistics put inputs at mean 0, deviation 1",
        ),
        _audited("mean", tuple(round(float(value), 6) for value in mean), source),
        _audited("std", tuple(round(float(value), 6) for value in std), source),
        _default(
            "augmentation",
            ("crop", "flip"),
            "crops of at least 75 % of the side and horizontal flips keep the label for "
            "nearly all images; add vertical-flip and quarter-turns where up and down mean nothing",
        ),
    ]


def _optimizer_decisions(facts: _Facts) -> list[Decision]:
    n = facts.n_train
    optimizer = facts.final("optimizer", "adamw")
    own_batch = 32 if facts.machine.device == "cpu" or n < 10_000 else 128
    batch = facts.final("batch_size", own_batch)
    rate, rule = learning_rate(optimizer, batch)
    if facts.pretrained:
        rate, rule = rate_of(facts.fine_tuning, rate, rule)
    return [
        _default(
            "optimizer", "adamw", "per-parameter steps forgive a rate that is off by a factor of 3"
        ),
        _default("learning_rate", rate, rule),
        _default("momentum", 0.9, "the usual value; only SGD uses it"),
        _default(
            "weight_decay",
            5e-4 if optimizer == "sgd" else (0.05 if optimizer == "adamw" else 0.0),
            f"the usual value for {optimizer}; biases and normalisation layers are exempt",
        ),
        _default("schedule", "cosine", "the rate falls to zero, so the last weights are settled"),
        _default(
            "warmup_fraction", 0.1, "the first steps see untrained features; the rate rises slowly"
        ),
        _default(
            "batch_size",
            own_batch,
            f"{math.ceil(n / own_batch):,} optimizer steps an epoch from {n:,} images",
        ),
        _default("accumulation", 1, "the batch fits in memory at once"),
        facts.own_epochs,
        _default("clip_norm", 0.0, "gradients of this network stay bounded; 0 = off"),
        _average(facts),
        _default("label_smoothing", 0.0, "smoothing would blur the calibrated probabilities"),
    ]


def _average(facts: _Facts) -> Decision:
    """Of the weights, while they are trained."""
    if facts.fine_tuning == "head":
        return _default("ema_decay", 0.0, "one layer is learnt to its end: nothing to average")
    reason = (
        "each epoch is judged by, and kept as, the mean of its last weights (about a ninth of the "
        "steps so far): within trainings of 5 epochs balanced accuracy was 0.06 higher in the mean "
        "than that of the last step's weights, at their end the same (benchmarks/RESULTS.md)"
    )
    return _default("ema_decay", EMA_DECAY, reason)


def learning_rate(optimizer: str, batch_size: int) -> tuple[float, str]:
    """The peak rate by a scaling rule, and the rule in words.

    Adam-type steps scale with the square root of the batch, SGD steps linearly.

    Source: Malladi et al. 2022, arXiv:2205.10287 (square root); Goyal et al. 2017,
    arXiv:1706.02677 (linear).
    """
    if optimizer == "sgd":
        rate = 0.05 * batch_size / 32
        rule = f"0.05 at batch 32, in proportion to the batch ({batch_size})"
    else:
        rate = 2e-3 * math.sqrt(batch_size / 32)
        rule = f"0.002 at batch 32, with the square root of the batch ({batch_size})"
    return float(f"{rate:.3g}"), rule


def _imbalance_decisions(facts: _Facts) -> list[Decision]:
    counts = [count for count in facts.train_counts if count > 0]
    ratio = max(counts) / min(counts)
    epochs = facts.final("epochs", facts.own_epochs.value)
    spread = f"the largest class has {max(counts):,} training images, the smallest {min(counts):,}"
    if ratio < IMBALANCED_FROM:
        value: tuple[Imbalance, ...] = ()
        reason = f"{spread}: ratio {ratio:.1f}, below {IMBALANCED_FROM:g}"
    elif facts.pretrained and facts.fine_tuning == "head":
        value = ("logit-adjustment",)
        reason = (
            f"{spread} (ratio {ratio:.0f}); a last layer on cached features sees every class often "
            "enough, and drawing the same few again and again fits them too closely: at ratio 50 "
            "the adjusted loss had a lowest recall of 0.51, balanced draws 0.36 "
            "(benchmarks/RESULTS.md)"
        )
    elif epochs <= SHORT_BUDGET_EPOCHS:
        value = ("balanced-sampling",)
        reason = (
            f"{spread} (ratio {ratio:.0f}), and in {epochs} epochs the smallest would be seen "
            f"{min(counts) * epochs:,} times in {facts.n_train * epochs:,}; at short budgets rare "
            "classes must be seen more often to be learnt at all"
        )
    else:
        value = ("logit-adjustment",)
        reason = (
            f"{spread} (ratio {ratio:.0f}); in {epochs} epochs every class is seen often enough, "
            "and the loss corrects the prior without repeating the same few images"
        )
    return [
        _audited("imbalance", value, reason),
        _default(
            "tau_sweep",
            True,
            "costs no training; kept only when balanced accuracy on validation images rises by "
            "more than its standard error",
        ),
    ]


def _selection_decisions(facts: _Facts) -> list[Decision]:
    return [
        _default(
            "selection",
            "balanced_accuracy",
            "accuracy would choose the epoch that serves the largest class; ties go to the better "
            "worst class",
        ),
        _default(
            "early_stop_epochs",
            0,
            "the schedule ends at rate zero, and its last epochs are usually the best",
        ),
        _default("val_fraction", 0.15, "enough images a class to choose an epoch by"),
        _default("test_fraction", 0.15, "images that no choice was made on, for honest figures"),
        _default("seed", 0, "the same seed gives the same split, batches and weights"),
    ]


def _machine_decisions(facts: _Facts) -> list[Decision]:
    machine = facts.machine
    half = machine.bf16 and machine.device == "cuda"
    return [
        _default(
            "precision",
            "bf16" if half else "fp32",
            "the device computes in bfloat16" if half else "exact, and no slower here",
        ),
        _default(
            "memory_format",
            "channels_last",
            "convolutions are fastest so on most machines; a longer training measures it",
        ),
        _default("device", machine.device, "the fastest device that PyTorch finds"),
        _default(
            "threads",
            machine.threads,
            "all processor cores; exact resume needs the same number again",
        ),
    ]


def _refuse_contradictions(settings: Settings) -> None:
    if settings.batch_size % settings.accumulation:
        raise InputError(
            f"A batch of {settings.batch_size} cannot be split into "
            f"{settings.accumulation} equal forward passes.",
            remedy="Make --batch-size a multiple of --accumulation.",
        )
    if settings.precision == "fp16" and settings.device != "cuda":
        raise InputError(
            f"fp16 needs a CUDA device; this training runs on {settings.device}.",
            remedy="Use --precision bf16 or fp32.",
        )
    if settings.val_fraction + settings.test_fraction >= 1:
        raise InputError(
            f"Validation ({settings.val_fraction:g}) and test ({settings.test_fraction:g}) leave "
            "no images to train on.",
            remedy="Make their sum less than 1.",
        )
    if min(settings.std) <= 0:
        raise InputError(
            f"std holds {min(settings.std):g}; every channel must be divided by more than 0.",
            remedy="Correct std in the recipe.",
        )
    mixes = [name for name in settings.augmentation if name in ("mixup", "cutmix")]
    if "remix" in settings.imbalance and mixes:
        raise InputError(
            f"remix is mixup with other targets, and {mixes[0]} would mix the images again.",
            remedy="Keep one of the two.",
        )
    refuse_contradictions(settings)
