"""What `everyclass doctor` found, as values. Checks nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from everyclass.errors import InputError

State = Literal["ok", "note", "problem"]
"""`note`: works, and could be better or surprise. `problem`: something of ours does not work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that was looked at.

    Attributes:
        name: in a word or two.
        state: see `State`.
        fact: what was seen, with its numbers.
        remedy: what to do, as a sentence; "" exactly when all is well.
        figures: the numbers by name, ready for JSON.
    """

    name: str
    state: State
    fact: str
    remedy: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.state == "ok") != (self.remedy == ""):
            raise InputError("An item needs a remedy when it is not ok, and none when it is.")

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "name": self.name,
            "state": self.state,
            "fact": self.fact,
            "remedy": self.remedy,
            "figures": dict(self.figures),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """All of them, in the order in which they were looked at.

    Attributes:
        seconds: that it took.
    """

    items: tuple[Item, ...]
    seconds: float

    def count(self, state: State) -> int:
        """Items in that state."""
        return sum(one.state == state for one in self.items)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "problems": self.count("problem"),
            "notes": self.count("note"),
            "seconds": round(self.seconds, 1),
            "items": [one.to_dict() for one in self.items],
        }


def looked_at(name: str, look: Callable[[], Item], *, remedy: str) -> Item:
    """What the look says; where it fails, that is the finding.

    Args:
        remedy: for a failure that nobody foresaw.
    """
    try:
        return look()
    except InputError as error:
        return Item(name=name, state="problem", fact=error.what, remedy=error.remedy or remedy)
    except Exception as error:  # noqa: BLE001 - a broken installation may raise whatever it likes
        words = " ".join(str(error).split())[:300]
        told = f"{type(error).__name__}: {words}" if words else type(error).__name__
        return Item(name=name, state="problem", fact=f"It fails with {told}.", remedy=remedy)
