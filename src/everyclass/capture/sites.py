"""Where in somebody's code a call came from. Comes in: the running stack. Goes out: file and line.

Knows no torch: frames are told apart by their file alone.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import weakref
from pathlib import Path
from types import FrameType

Site = tuple[str, int]
"""(file as Python knows it, line)."""

MOST_SITES = 100_000
"""Objects whose place is remembered."""

_OURS = str(Path(__file__).resolve().parents[1])
_LIBRARIES = tuple(
    {
        os.path.realpath(sysconfig.get_path(name)) + os.sep
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
)
_PACKAGE_FOLDERS = ("site-packages", "dist-packages")
"""Of another environment too: one that sees the system's packages."""
_known: dict[str, bool] = {}


class Sites:
    """Where objects were constructed, without keeping them alive."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[object], Site | None]] = {}

    def remember(self, thing: object) -> None:
        """The thing is being constructed by the code above us."""
        if len(self._known) < MOST_SITES:
            self._known[id(thing)] = (weakref.ref(thing), calling_site())

    def of(self, thing: object) -> Site | None:
        """Where it was constructed; None when that was not seen."""
        known = self._known.get(id(thing))
        return known[1] if known is not None and known[0]() is thing else None


def calling_site() -> Site | None:
    """The innermost line of the user's own code on the stack.

    Constructors are skipped: of a network built by `Net()`, the line that says `Net()` counts,
    not the one in `Net.__init__`. Without a line of the user's (a library's own entry point runs),
    the innermost one outside torch and this package; None when there is none.
    """
    frame: FrameType | None = sys._getframe(1)
    fallback: Site | None = None
    while frame is not None:
        code = frame.f_code
        name = code.co_filename
        library = _known.get(name)
        if library is None:
            library = _known[name] = _is_library(name)
        if not library:
            if code.co_name != "__init__":
                return name, frame.f_lineno
        elif fallback is None and not _is_torch(name):
            fallback = name, frame.f_lineno
        frame = frame.f_back
    return fallback


def site_text(site: Site | None) -> str:
    """`file:line`, relative to the working folder when the file lies in it; "" for None."""
    if site is None:
        return ""
    name, line = site
    try:
        relative = os.path.relpath(name)
    except ValueError:  # another drive
        relative = name
    return f"{name if relative.startswith('..') else relative}:{line}"


def _is_library(name: str) -> bool:
    if name.startswith("<"):
        # A notebook's cells and `exec` are somebody's code; frozen modules are not.
        return name.startswith("<frozen")
    path = os.path.realpath(name)
    if any(f"{os.sep}{folder}{os.sep}" in path for folder in _PACKAGE_FOLDERS):
        return True
    return path.startswith((*_LIBRARIES, _OURS + os.sep)) or not os.path.exists(path)


def _is_torch(name: str) -> bool:
    return f"{os.sep}torch{os.sep}" in name or name.startswith((_OURS, "<frozen"))
