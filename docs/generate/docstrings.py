"""Docstrings of the house style as the reference reads them: a blank line before each section.

Comes in: objects as griffe loads them from the source. Goes out: the same, their docstrings spaced.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_SECTION = re.compile(
    r"(?<!\n)\n((?:Args|Attributes|Returns|Yields|Raises|Example|Source|Methods):)", re.M
)


class Spaced(griffe.Extension):
    """The house style sets sections one under the other; the parser wants a blank line between."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Space the docstring of one module, class or function."""
        if obj.docstring is not None:
            spaced = _SECTION.sub(r"\n\n\1", obj.docstring.value)
            obj.docstring.value = spaced.replace("\nExample:\n", "\nExamples:\n")
