"""From what a trial proved to settings of the recipe.

Comes in: a `Diagnosis`, the recipe that was followed. Goes out: the settings to change, with the
reason, or why none is. Only changes that a trial proved are considered; where the recipe can say a
change only nearly, the difference is told. Trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from everyclass.decide import LEAST_STD
from everyclass.diagnoses import Cause, Diagnosis
from everyclass.diagnosis.alterations import CLIP_NORM, WARM_UP_STEPS
from everyclass.repairs import SettingChange
from everyclass.settings import Settings

MOST_RATE = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a setting may depend on besides the recipe.

    Args:
        settings: that were followed.
        mean, std: of the training images, channel-wise, of values in [0, 1].
        n_steps: of the whole training.
    """

    settings: Settings
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    n_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prescription:
    """Settings for a proved cause.

    Attributes:
        cause: that they answer.
        changes: at least one.
        nearly: how they differ from what the trial did; "" where they do not.
        from_start: the first weights are to be gone back to, because what was learned was learned
            from other inputs.
    """

    cause: Cause
    changes: tuple[SettingChange, ...]
    nearly: str = ""
    from_start: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What the recipe can say of a trial's change: values by name."""

    values: Mapping[str, Any]
    nearly: str = ""
    from_start: bool = False


def prescription(diagnosis: Diagnosis, facts: Facts) -> Prescription | None:
    """Settings for the first proved cause that the recipe has a word for."""
    for cause in diagnosis.causes:
        if not cause.proved or cause.trial is None:
            continue
        names = cause.trial.change.split(" + ")
        if "evaluation-images" in names and cause.id != "augmentation-too-strong":
            continue  # it told something else about the stream
        said = [_said(name, facts) for name in names]
        known = [one for one in said if one is not None]
        if len(known) < len(names):
            continue  # of a pair that was proved together, half is nothing that was proved
        values = {name: value for one in known for name, value in one.values.items()}
        changes = tuple(
            SettingChange(name=name, old=getattr(facts.settings, name), new=value)
            for name, value in values.items()
            if getattr(facts.settings, name) != value
        )
        if changes:
            return Prescription(
                cause=cause,
                changes=changes,
                nearly=" ".join(one.nearly for one in known if one.nearly),
                from_start=any(one.from_start for one in known) or _other_head(changes),
            )
    return None


def _other_head(changes: Sequence[SettingChange]) -> bool:
    """LDAM has a last layer of cosines: no other training can go on from its weights."""
    moved = (one for one in changes if one.name == "imbalance")
    return any(("ldam-drw" in one.old) != ("ldam-drw" in one.new) for one in moved)


def why_none(diagnosis: Diagnosis) -> str:
    """Why nothing is changed, as sentences."""
    proved = [one for one in diagnosis.causes if one.proved]
    if not proved:
        notes = " ".join(diagnosis.notes)
        if not diagnosis.causes:
            return f"No cause was proved, and nothing is suspected. {notes}".strip()
        first = diagnosis.causes[0].id
        return (
            f"No cause was proved; {first} is suspected, and nothing is changed on a suspicion. "
            f"{notes}"
        ).strip()
    first_proved = proved[0]
    trial, remedies = first_proved.trial, {one.cause: one.sentence for one in diagnosis.remedies}
    tried = "" if trial is None else f" (with {trial.words})"
    if first_proved.id == "undertrained":
        return (
            f"undertrained is proved{tried}: nothing is wrong but time, and how much of it to "
            "spend is yours to say (--epochs)."
        )
    remedy = remedies.get(first_proved.id, "")
    return (
        f"{first_proved.id} is proved{tried}, and the recipe has no setting for it. {remedy}"
    ).strip()


def _said(change: str, facts: Facts) -> _Said | None:
    """The trial's change in settings; None where the recipe has no word for it."""
    make = _SETTINGS.get(change)
    return None if make is None else make(facts)


def _rate_times(factor: float) -> Callable[[Facts], _Said | None]:
    def make(facts: Facts) -> _Said | None:
        rate = float(f"{facts.settings.learning_rate * factor:.6g}")
        return _Said(values={"learning_rate": rate}) if 0 < rate <= MOST_RATE else None

    return make


def _warm_up(facts: Facts) -> _Said:
    settings = facts.settings
    share = min(0.5, WARM_UP_STEPS / max(1, facts.n_steps))
    return _Said(
        values={
            "learning_rate": float(f"{settings.learning_rate * 0.3:.6g}"),
            "warmup_fraction": max(settings.warmup_fraction, float(f"{share:.3g}")),
        },
        nearly=f"The trial warmed up over {WARM_UP_STEPS} steps; the recipe counts in shares of "
        "the training.",
    )


def _adam(facts: Facts) -> _Said:
    course = facts.settings.schedule != "constant" or facts.settings.warmup_fraction > 0
    return _Said(
        values={"optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 0.0},
        nearly="The trial kept the rate constant; the schedule and warm-up of the recipe stay."
        if course
        else "",
    )


def _inputs(facts: Facts) -> _Said:
    return _Said(
        values={
            "normalisation": "dataset",
            "mean": _rounded(facts.mean),
            "std": _rounded(max(one, LEAST_STD) for one in facts.std),
        },
        nearly="The trial standardised by the captured batches; the recipe does by all training "
        "images.",
        from_start=True,
    )


def _without_weights(facts: Facts) -> _Said:
    kept = tuple(one for one in facts.settings.imbalance if not one.startswith("weights-"))
    return _Said(values={"imbalance": kept})


def _correction(name: str) -> Callable[[Facts], _Said]:
    def make(facts: Facts) -> _Said:
        before = facts.settings.imbalance
        return _Said(
            values={"imbalance": (name,)},
            nearly=f"The trial added it to {' + '.join(before)}; the recipe corrects once, so it "
            "takes that one's place."
            if before and before != (name,)
            else "",
        )

    return make


def _setting(name: str, value: Any, *, nearly: str = "") -> Callable[[Facts], _Said]:
    return lambda _: _Said(values={name: value}, nearly=nearly)


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(float(one), 6) for one in values)


_SETTINGS: Mapping[str, Callable[[Facts], _Said | None]] = MappingProxyType(
    {
        "rate-tenth": _rate_times(0.1),
        "rate-hundredth": _rate_times(0.01),
        "rate-ten-times": _rate_times(10.0),
        "rate-hundred-times": _rate_times(100.0),
        "rate-constant": _setting(
            "schedule",
            "constant",
            nearly=f"The trial reached the peak over {WARM_UP_STEPS} steps; the warm-up of the "
            "recipe stays.",
        ),
        "warm-up": _warm_up,
        "gradients-clipped": _setting("clip_norm", CLIP_NORM),
        "adam": _adam,
        "weight-decay-off": _setting("weight_decay", 0.0),
        "smoothing-removed": _setting("label_smoothing", 0.0),
        "weights-removed": _without_weights,
        "weights-balanced": _setting("imbalance", ("weights-balanced",)),
        "prior-corrected": _correction("logit-adjustment"),
        "balanced-batches": _correction("balanced-sampling"),
        "inputs-standardised": _inputs,
        "float32": _setting("precision", "fp32"),
        # Proved of augmentation alone: `prescription` leaves the other cases out.
        "evaluation-images": _setting(
            "augmentation",
            (),
            nearly="The trial learned from validation images, which are not augmented; the recipe "
            "leaves the augmentation of training images out.",
        ),
    }
)
"""Name of a trial's change -> settings. Those that are missing here have none: a network's layers,
its dropout and its initialisation are the model's."""
