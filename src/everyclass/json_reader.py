"""Typed access to parsed JSON, and the checks that values make of themselves.

Comes in: what `json.load` returned, or a field's value. Goes out: that value in its type, or one
message that names the file and the field. Knows no value of ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from everyclass.errors import InputError

Interval = tuple[float, float]
"""(low, high)."""

ROUNDING = 1e-3
"""How far two fields may be apart that say the same: a file may round to three decimals."""


class Reader:
    """Typed access to a parsed JSON object; names the field that is not what it should be."""

    def __init__(self, values: object, where: str) -> None:
        if not isinstance(values, Mapping):
            raise InputError(f"an object is expected, not {_kind(values)}.", where=where)
        self._values = values
        self._where = where

    def value(self, key: str) -> object:
        """The field as it was parsed."""
        if key not in self._values:
            raise InputError(f"'{key}' is missing.", where=self._where)
        return self._values[key]

    def value_or_none(self, key: str) -> object:
        """The field as it was parsed; None where it is null or absent, as in an earlier file."""
        return self._values.get(key)

    def text(self, key: str) -> str:
        """A text."""
        return as_text(self.value(key), self._where, key)

    def number(self, key: str) -> float:
        """A finite number."""
        return as_number(self.value(key), self._where, key)

    def whole(self, key: str) -> int:
        """A whole number."""
        return as_whole(self.value(key), self._where, key)

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.value(key)
        if not isinstance(value, bool):
            raise InputError(f"'{key}' is {_kind(value)}, not true or false.", where=self._where)
        return value

    def counts(self, key: str) -> tuple[tuple[int, int], ...]:
        """An object of whole numbers under whole numbers, as pairs."""
        inner = Reader(self.value(key), f"{self._where}: {key}")
        try:
            return tuple((int(name), inner.whole(name)) for name in inner._values)
        except ValueError as error:
            raise InputError(f"'{key}' has a name that is no number ({error}).") from error

    def record(self, key: str) -> dict[str, Any]:
        """An object, as it was parsed."""
        value = self.value(key)
        if not isinstance(value, Mapping):
            raise InputError(f"'{key}' is {_kind(value)}, not an object.", where=self._where)
        return dict(value)

    def number_or_none(self, key: str) -> float | None:
        """A finite number, or None for null."""
        return None if self.value(key) is None else self.number(key)

    def whole_or_none(self, key: str) -> int | None:
        """A whole number, or None for null."""
        return None if self.value(key) is None else self.whole(key)

    def items(self, key: str) -> list[object]:
        """A list."""
        return as_items(self.value(key), self._where, key)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(as_text(one, self._where, key) for one in self.items(key))

    def interval(self, key: str) -> Interval:
        """Two numbers."""
        ends = self.items(key)
        if len(ends) != 2:
            raise InputError(f"'{key}' has {len(ends)} numbers, not 2.", where=self._where)
        return as_number(ends[0], self._where, key), as_number(ends[1], self._where, key)

    def interval_or_none(self, key: str) -> Interval | None:
        """Two numbers, or None for null."""
        return None if self.value(key) is None else self.interval(key)

    def text_pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        """An object of texts, as pairs."""
        inner = Reader(self.value(key), f"{self._where}: {key}")
        return tuple((str(name), inner.text(str(name))) for name in inner._values)


def as_text(value: object, where: str, key: str) -> str:
    """The value, if it is a text."""
    if not isinstance(value, str):
        raise InputError(f"'{key}' is {_kind(value)}, not a text.", where=where)
    return value


def as_number(value: object, where: str, key: str) -> float:
    """The value, if it is a finite number."""
    # bool is an int in Python; true in a JSON file is nobody's recall.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"'{key}' is {_kind(value)}, not a finite number.", where=where)
    return float(value)


def as_whole(value: object, where: str, key: str) -> int:
    """The value, if it is a whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"'{key}' is {_kind(value)}, not a whole number.", where=where)
    return value


def as_items(value: object, where: str, key: str = "confusion") -> list[object]:
    """The value, if it is a list."""
    if not isinstance(value, list):
        raise InputError(f"'{key}' is {_kind(value)}, not a list.", where=where)
    return value


def _kind(value: object) -> str:
    return "null" if value is None else f"{value!r:.40} ({type(value).__name__})"


def check_share(value: float | None, where: str, key: str) -> None:
    """Refuse a figure outside [0, 1]; None is none."""
    if value is not None:
        require(0 <= value <= 1, where, f"{key} is {value}, outside [0, 1].")


def check_interval(interval: Interval | None, value: float | None, where: str, key: str) -> None:
    """Refuse an interval outside [0, 1] or without its figure."""
    if interval is None or value is None:
        return
    low, high = interval
    require(0 <= low <= high <= 1, where, f"{key} is [{low}, {high}], not an interval in [0, 1].")
    require(
        low - ROUNDING <= value <= high + ROUNDING,
        where,
        f"{key} is [{low}, {high}] and does not contain the figure, {value}.",
    )


def require(fact: bool, where: str, otherwise: str) -> None:
    """Raise InputError(otherwise) where the fact does not hold."""
    if not fact:
        raise InputError(otherwise, where=where)
