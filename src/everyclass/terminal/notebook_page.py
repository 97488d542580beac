"""One output of a notebook cell, rewritten in place: lines that stay, under them what is going on.

Comes in: rich renderables. Goes out: HTML by IPython's display, which needs no widgets and leaves
the lines in the saved notebook. Sets no colours, as `everyclass.notebook`. Knows no event.
"""

from __future__ import annotations

import html
import io
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, RenderableType
from rich.segment import Segment

WIDTH = 110
SECONDS_BETWEEN = 0.25  # each rewriting is a message to the browser
_STYLE = (
    "margin:0;white-space:pre;overflow-x:auto;line-height:normal;"
    "font-family:Menlo,'DejaVu Sans Mono',Consolas,'Courier New',monospace"
)


class NotebookPage:
    """Takes lines and a changing part, as rich's `Live` and its console do on a terminal.

    Args:
        clock: seconds; rewriting the changing part waits until `SECONDS_BETWEEN` have passed.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = Console(width=WIDTH, file=io.StringIO(), no_color=True, force_jupyter=False)
        self._clock = clock
        self._lines: list[tuple[str, str]] = []
        self._handle: Any = None
        self._shown = -SECONDS_BETWEEN

    def add(self, line: RenderableType) -> None:
        """A line, or several, that stays; what was going on until now is over."""
        self._lines.append(self._both(line))
        self._show(self._lines)

    def update(self, going_on: RenderableType) -> None:
        """What stands under the lines, until the next."""
        if self._clock() - self._shown >= SECONDS_BETWEEN:
            self._show([*self._lines, self._both(going_on)])

    def stop(self) -> None:
        """Leave the lines alone."""
        if self._handle is not None:
            self._show(self._lines)

    def _show(self, parts: list[tuple[str, str]]) -> None:
        from IPython.display import display  # whoever is in a notebook has it

        page = "\n".join(part for part, _ in parts)
        bundle = {
            "text/html": f'<pre style="{_STYLE}">{page}</pre>',
            "text/plain": "\n".join(part for _, part in parts),
        }
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(bundle, raw=True)
        self._shown = self._clock()

    def _both(self, what: RenderableType) -> tuple[str, str]:
        """As HTML and as text."""
        rows = self._console.render_lines(what, pad=False)
        return (
            "\n".join("".join(_marked(part) for part in row).rstrip() for row in rows),
            "\n".join("".join(part.text for part in row).rstrip() for row in rows),
        )


def _marked(part: Segment) -> str:
    """Bold and faint are told; colours would be wrong in one of a light and a dark notebook."""
    text = html.escape(part.text)
    if part.style is not None and part.style.bold:
        return f"<b>{text}</b>"
    if part.style is not None and part.style.dim:
        return f'<span style="opacity:0.7">{text}</span>'
    return text
