"""All guises, by the file that holds them: a file a cause, and `healthy`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass

import guises
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
    """(cause id, guise), in the order of the files' names."""
    for module in sorted(found.name for found in pkgutil.iter_modules(guises.__path__)):
        for guise in importlib.import_module(f"guises.{module}").GUISES:
            yield module.replace("_", "-"), guise


def cells(*, seeds: int, healthy: bool) -> list[Cell]:
    """Every script with every seed, seeds outermost, so that a part of them is a fair part."""
    scripts = [
        (cause, guise, at)
        for cause, guise in all_guises()
        if (cause == HEALTHY) == healthy
        for at in guise.places
    ]
    return [
        Cell(cause=cause, guise=guise, at=at, seed=seed)
        for seed in range(seeds)
        for cause, guise, at in scripts
    ]
