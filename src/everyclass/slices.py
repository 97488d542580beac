"""Slices of an evaluation: images with something in common, beside the rest at the same classes.

Comes in: numbers that `stats.slices` found. Goes out: values, the `slices` of `evaluation.json`,
and a sentence each. Knows no arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from everyclass.errors import InputError

Attribute = Literal["group", "shorter side", "brightness"]
"""What images are divided by: the group of the table, pixels as stored, mean grey from 0 to 1."""

Ends = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Some images, and how often they are right beside the other images of the same classes.

    Attributes:
        attribute: that they share.
        words: which they are: "images darker than 0.21 (mean grey)".
        value: of a group, or of an attribute with few values; None for a range.
        low, high: of a range, low <= x < high; None where it is open.
        class_name: the slice is of this class alone; None for images of all classes.
        n, right: images, and those among them that are given their class.
        recall: right / n; `recall_ci95` its 95 % interval.
        elsewhere: recall of the other images, each class weighted as it is among the slice's.
        elsewhere_n: other images of these classes.
        difference: recall - elsewhere, in [-1, 1].
        difference_interval: allows for the number of slices looked at.
        p: chance of as few right ones or fewer, if the slice made no difference.
        p_adjusted: the same for the smallest of all p-values looked at.
        shown: p_adjusted is at most the level: it is worse, not by chance alone.
    """

    attribute: Attribute
    words: str
    value: str | None
    low: float | None
    high: float | None
    class_name: str | None
    n: int
    right: int
    recall: float
    recall_ci95: Ends
    elsewhere: float
    elsewhere_n: int
    difference: float
    difference_interval: Ends
    p: float
    p_adjusted: float
    shown: bool

    def __post_init__(self) -> None:
        for name in ("recall", "elsewhere", "p", "p_adjusted"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise InputError(f"slices: {name} is {share}, outside [0, 1].")
        if not 0 <= self.right <= self.n or self.n == 0:
            raise InputError(
                f"slices: {self.right} of {self.n} images are right; 0 to {self.n} are expected."
            )

    @property
    def name(self) -> str:
        """Which images, with their class."""
        return self.words if self.class_name is None else f"'{self.class_name}', {self.words}"

    @property
    def sentence(self) -> str:
        """What was found, with its interval."""
        low, high = self.recall_ci95
        same = "at the same classes" if self.class_name is None else "in this class"
        return (
            f"{self.name}: recall {self.recall:.2f} ({low:.2f} to {high:.2f}, n = {self.n:,}) "
            f"against {self.elsewhere:.2f} elsewhere {same}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceFindings:
    """All slices that were looked at, and those of them to tell.

    Attributes:
        level: chance of naming any slice where none is worse, at most.
        looked_at: slices tested, those of single classes among them.
        by_group: intervals and tests of ranges allow for images of one group being alike.
        method: test, correction and intervals, in words.
        slices: the shown ones, the least probable first, then the nearest of the others.
        notes: what was not looked at, and why.
    """

    level: float
    looked_at: int
    by_group: bool
    method: str
    slices: tuple[Slice, ...]
    notes: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[Slice, ...]:
        """Those that are shown to be worse."""
        return tuple(one for one in self.slices if one.shown)

    @property
    def nothing(self) -> str:
        """What to say where none is shown."""
        if not self.looked_at:
            return f"No slice could be looked at: {'; '.join(self.notes)}."
        told = f"No slice is shown to be worse ({self.looked_at:,} looked at)"
        # A slice that is better than the rest is no news of this kind.
        worst = min(self.slices, key=lambda one: (one.p, one.difference))
        if worst.difference >= 0:
            return f"{told}; none is below the rest at the same classes."
        low, high = worst.difference_interval
        return (
            f"{told}. Nearest to it: {worst.sentence}; difference {worst.difference:+.2f} "
            f"({low:+.2f} to {high:+.2f} with allowance for the looks)."
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        values = asdict(self)
        for one in values["slices"]:
            one["recall_ci95"] = list(one["recall_ci95"])
            one["difference_interval"] = list(one["difference_interval"])
        return {**values, "slices": list(values["slices"]), "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, values: object, *, where: str = "slices") -> SliceFindings:
        """The value of the JSON object.

        Raises:
            InputError: a field is missing or of another kind.
        """
        if not isinstance(values, Mapping):
            raise InputError("an object is expected.", where=where)
        try:
            return cls(
                level=float(values["level"]),
                looked_at=int(values["looked_at"]),
                by_group=bool(values["by_group"]),
                method=str(values["method"]),
                slices=tuple(_slice(one) for one in values["slices"]),
                notes=tuple(str(note) for note in values["notes"]),
            )
        except KeyError as error:
            raise InputError(f"{error} is missing.", where=where) from None
        except (TypeError, ValueError) as error:
            raise InputError(f"a value is of another kind ({error}).", where=where) from None


def _slice(values: Mapping[str, Any]) -> Slice:
    attribute = values["attribute"]
    if attribute not in get_args(Attribute):
        raise ValueError(f"no attribute {attribute!r}")
    return Slice(
        attribute=cast(Attribute, attribute),
        words=str(values["words"]),
        value=_or_none(values["value"], str),
        low=_or_none(values["low"], float),
        high=_or_none(values["high"], float),
        class_name=_or_none(values["class_name"], str),
        n=int(values["n"]),
        right=int(values["right"]),
        recall=float(values["recall"]),
        recall_ci95=_ends(values["recall_ci95"]),
        elsewhere=float(values["elsewhere"]),
        elsewhere_n=int(values["elsewhere_n"]),
        difference=float(values["difference"]),
        difference_interval=_ends(values["difference_interval"]),
        p=float(values["p"]),
        p_adjusted=float(values["p_adjusted"]),
        shown=bool(values["shown"]),
    )


def _or_none(value: object, kind: Any) -> Any:
    return None if value is None else kind(value)


def _ends(values: Any) -> Ends:
    low, high = values
    return float(low), float(high)
