"""Decisions with their reasons, and the file that people read, edit and pass back.

Comes in: decisions that `decide.py` made, or YAML. Goes out: a `Recipe`, its checked `Settings`, or
YAML. Decides nothing and sees no data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import yaml

from everyclass import notebook
from everyclass.errors import InputError
from everyclass.settings import Settings, check_settings, check_wishes

Origin = Literal["audit", "measured", "user", "default"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One setting: its value, why, and who decided."""

    name: str
    value: Any
    reason: str
    origin: Origin

    def sentence(self) -> str:
        """The decision in words."""
        return f"{self.name} = {show_value(self.value)}: {self.reason} [{self.origin}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Ordered decisions, one for each field of `Settings`."""

    decisions: tuple[Decision, ...]

    @property
    def settings(self) -> Settings:
        """The values alone, checked."""
        values = {decision.name: decision.value for decision in self.decisions}
        return check_settings(values, where="recipe")

    def why(self) -> tuple[str, ...]:
        """Every decision as a sentence."""
        return tuple(decision.sentence() for decision in self.decisions)

    def with_value(
        self, name: str, value: Any, reason: str, *, origin: Origin | None = None
    ) -> Recipe:
        """The recipe with one value found out later.

        Args:
            origin: who decided; None for whoever decided it in the first place.
        """
        changed = tuple(
            replace(one, value=value, reason=reason, origin=origin or one.origin)
            if one.name == name
            else one
            for one in self.decisions
        )
        return replace(self, decisions=changed)

    def _repr_html_(self) -> str:
        """For a notebook: every decision with its reason."""
        rows = [(one.name, show_value(one.value), one.reason, one.origin) for one in self.decisions]
        table = notebook.table(("setting", "value", "why", "decided by"), rows, words=4)
        return notebook.headed("Recipe", table)

    def to_yaml(self) -> str:
        """The file that people read, edit and pass back with `--recipe`."""
        lines = [
            "# Recipe of an everyclass training. Edit a `value` and pass the file back:",
            "#   everyclass train DATA --recipe recipe.yaml",
            "# Only the values are read; reasons and origins are for you.",
            "",
        ]
        for decision in self.decisions:
            value = list(decision.value) if isinstance(decision.value, tuple) else decision.value
            body = {"value": value, "why": decision.reason, "origin": decision.origin}
            lines.append(
                yaml.safe_dump(
                    {decision.name: body}, sort_keys=False, allow_unicode=True, width=100
                )
            )
        return "\n".join(lines)

    @classmethod
    def from_yaml(cls, text: str, *, where: str) -> Recipe:
        """A complete recipe as `to_yaml` wrote it, reasons and origins included.

        Raises:
            InputError: not YAML, a setting missing, unknown or out of range.
        """
        entries = _parse(text, where=where)
        settings = check_settings(
            {name: _value(entry) for name, entry in entries.items()}, where=where
        )
        decisions = []
        for name in entries:
            entry = entries[name] if isinstance(entries[name], Mapping) else {}
            origin = entry.get("origin", "user")
            decisions.append(
                Decision(
                    name=name,
                    value=getattr(settings, name),
                    reason=str(entry.get("why", f"given in {where}")),
                    origin=origin if origin in get_args(Origin) else "user",
                )
            )
        return cls(decisions=tuple(decisions))


def read_wishes(text: str, *, where: str) -> dict[str, Any]:
    """The values of a recipe file, whole or partial, as wishes.

    Both `batch_size: 16` and `batch_size: {value: 16, why: ...}` are understood.

    Raises:
        InputError: not YAML, or a value that is not valid.
    """
    entries = _parse(text, where=where)
    return check_wishes({name: _value(entry) for name, entry in entries.items()}, where=where)


def show_value(value: Any) -> str:
    """A value as people write it: `0.001`, `crop + flip`, `none`."""
    if isinstance(value, tuple):
        if value and isinstance(value[0], float):
            return ", ".join(f"{item:.4g}" for item in value)
        return " + ".join(str(item) for item in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def _parse(text: str, *, where: str) -> dict[str, Any]:
    try:
        entries = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(
            f"This is not YAML: {' '.join(str(error).split())}.", where=where, remedy="Correct it."
        ) from None
    if not isinstance(entries, dict) or not all(isinstance(name, str) for name in entries):
        raise InputError(
            "A recipe is a list of settings with values.",
            where=where,
            remedy="Start from the file that `everyclass train DATA --explain` prints.",
        )
    return entries


def _value(entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    return entry.get("value")
