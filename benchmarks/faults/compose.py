"""A training script as text: one of the scripts, with other images, another network, and edits.

Comes in: guises and a `Place`. Goes out: the text of one standalone file, in which nothing tells
that it was composed: what the script imports from `scripts/parts` is written into it. An edit is a
piece of text and what replaces it; the piece must occur exactly once, so that a guise cannot
silently change nothing. Knows nothing of torch and of everyclass.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"
PARTS_IMPORT = re.compile(r"^from parts\.(\w+) import (load_images|Net)\n", re.MULTILINE)

Edit = tuple[str, str]
"""(what stands in the script, what stands there instead)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a guise is put.

    Attributes:
        images: a module of `scripts/parts` with `load_images`.
        network: a module of `scripts/parts` with `Net`.
        settings: defaults of the script's options by name ("lr", "epochs"), instead of its own.
    """

    images: str
    network: str
    settings: tuple[tuple[str, float], ...] = ()

    @property
    def name(self) -> str:
        """As it stands in results."""
        return f"{self.images}/{self.network}"


def place(images: str, network: str, **settings: float) -> Place:
    """Short for `Place`, as the files of guises write it."""
    return Place(images=images, network=network, settings=tuple(settings.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Guise:
    """One way in which people write a fault, or a healthy training.

    Attributes:
        name: unique among all guises.
        script: the file of `scripts` that it changes.
        places: where it is run; for a guise kept aside, the one it was written at.
        around: what is changed in the script and is no fault (another optimizer, say): it stands
            in the healthy twin too.
        edits: the fault.
        cure, cure_settings: what the healthy twin has in place of `edits`, and of settings that
            are the fault themselves (a rate); empty when it only lacks them.
        begins: optimizer step at which the fault begins to act; None: at the first evaluation.
        accepts: cause ids that count as right besides the file's own.
        source: the case it was taken from, or "".
        images, networks: where `matrix` may put it besides; () for wherever its edits fit.
        drawn: whether `matrix` draws it; not where no healthy twin is known.
    """

    name: str
    script: str
    places: tuple[Place, ...]
    around: tuple[Edit, ...] = ()
    edits: tuple[Edit, ...] = ()
    cure: tuple[Edit, ...] = ()
    cure_settings: tuple[tuple[str, float], ...] = ()
    begins: int | None = 0
    accepts: tuple[str, ...] = ()
    source: str = ""
    images: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    drawn: bool = True


def compose(guise: Guise, at: Place) -> str:
    """The text of the script with the fault.

    Raises:
        ValueError: an edit or a setting that does not fit the script.
        SyntaxError: what comes of it is no Python.
    """
    text = written(guise.script, at, (*guise.around, *guise.edits), name=guise.name)
    compile(text, f"{guise.name}.py", "exec")
    return text


def written(script: str, at: Place, edits: Iterable[Edit], *, name: str) -> str:
    """The text of a script at a place, with edits in their order.

    Args:
        script: a file of `scripts`.
        at: where it is put.
        edits: each must fit exactly once.
        name: for messages.
    Raises:
        ValueError: an edit or a setting that does not fit the script.
    """
    text = _whole(script, at.images, at.network)
    for option, value in at.settings:
        text = _with_default(text, option, value, name)
    for old, new in edits:
        if text.count(old) != 1:
            raise ValueError(f"{name} ({at.name}): {old!r} occurs {text.count(old)} times.")
        text = text.replace(old, new)
    return text


@cache
def _whole(script: str, images: str, network: str) -> str:
    """The script with its parts written into it."""
    text = (SCRIPTS / f"{script}.py").read_text()
    parts = {"load_images": images, "Net": network}
    bodies = []
    imports: set[str] = set()
    for match in PARTS_IMPORT.finditer(text):
        part_imports, body = _divided((SCRIPTS / "parts" / f"{parts[match[2]]}.py").read_text())
        imports |= part_imports
        bodies.append(body)
    opening, rest = _opening(PARTS_IMPORT.sub("", text))
    script_imports, rest = _divided(rest)
    return "\n\n".join([opening, _sorted_imports(imports | script_imports), "", *bodies, rest])


def _opening(text: str) -> tuple[str, str]:
    """The module's docstring, and what follows."""
    end = text.index('"""', 3) + 3
    return text[:end], text[end:]


def _divided(text: str) -> tuple[set[str], str]:
    """The import lines at the head of a module, and its body."""
    lines = text.strip().split("\n")
    n = 0
    while not lines[n] or lines[n].startswith(("import ", "from ")):
        n += 1
    return {line for line in lines[:n] if line}, "\n".join(lines[n:]).strip() + "\n"


def _sorted_imports(imports: set[str]) -> str:
    ordered = sorted(imports, key=lambda line: (line.startswith("from "), line.lower()))
    standard = [line for line in ordered if re.split(r"[ .]", line)[1] in sys.stdlib_module_names]
    others = [line for line in ordered if line not in standard]
    return "\n".join([*standard, "", *others])


def _with_default(text: str, name: str, value: float, guise: str) -> str:
    option = name.replace("_", "-")
    pattern = re.compile(rf'("--{option}", type=\w+, default=)[^,)]+')
    text, changed = pattern.subn(rf"\g<1>{value}", text)
    if changed != 1:
        raise ValueError(f"{guise}: the script has no option --{option}.")
    return text
