"""All guises, by the file that holds them: a file a cause, and `healthy`.

`guises` are those that watch, checks and trials were developed with; `held_out` were written
afterwards, and are not to be read by who changes any of the three.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import guises
import held_out
from compose import Guise, Place

HEALTHY = "healthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One script with one seed.

    Attributes:
        cause: id of the cause, or "healthy": what the script was meant to be, not what it came to.
        guise, at: the script.
        seed: given to it.
    """

    cause: str
    guise: Guise
    at: Place
    seed: int

    @property
    def script_name(self) -> str:
        """Unique among scripts."""
        told = "".join(f" {name}={value:g}" for name, value in self.at.settings)
        return f"{self.cause}/{self.guise.name} on {self.at.name}{told}"

    @property
    def key(self) -> str:
        """Unique among runs."""
        return f"{self.script_name} seed={self.seed}"


def all_guises() -> Iterator[tuple[str, Guise]]:
    """(cause id, guise) of those developed with, in the order of the files' names."""
    yield from _of(guises)


def held_out_guises() -> Iterator[tuple[str, Guise]]:
    """(cause id, guise) of those kept aside."""
    yield from _of(held_out)


def _of(package: ModuleType) -> Iterator[tuple[str, Guise]]:
    for module in sorted(found.name for found in pkgutil.iter_modules(package.__path__)):
        for guise in importlib.import_module(f"{package.__name__}.{module}").GUISES:
            yield module.replace("_", "-"), guise


def cells(*, seeds: int, healthy: bool, held_out: bool = False) -> list[Cell]:
    """Every script with every seed, seeds outermost, so that a part of them is a fair part.

    Args:
        held_out: those kept aside instead; none of them is healthy.
    """
    scripts = [
        (cause, guise, at)
        for cause, guise in (held_out_guises() if held_out else all_guises())
        if (cause == HEALTHY) == healthy
        for at in guise.places
    ]
    return [
        Cell(cause=cause, guise=guise, at=at, seed=seed)
        for seed in range(seeds)
        for cause, guise, at in scripts
    ]
