"""HTML that values show of themselves in a notebook: a few tags, every text escaped.

Comes in: words and figures. Goes out: fragments of HTML. Sets no colours, so that they are readable
in a light and in a dark notebook; loads nothing. Knows no value of ours.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_NUMBER = "text-align:right;font-variant-numeric:tabular-nums"
_TEXT = "text-align:left"


def text(words: str) -> str:
    """The words, escaped."""
    return html.escape(words)


def strong(words: str) -> str:
    """In bold."""
    return f"<b>{html.escape(words)}</b>"


def line(words: str) -> str:
    """On a line of its own, in italics."""
    return f"<br><i>{html.escape(words)}</i>"


def code(words: str) -> str:
    """On a line of its own, as code; nothing for no words."""
    return f"<br><code>{html.escape(words)}</code>" if words else ""


def paragraph(words: str) -> str:
    """A paragraph."""
    return f"<p>{html.escape(words)}</p>"


def headed(headline: str, *parts: str) -> str:
    """A bold line and what follows it, which is HTML already."""
    return f"<p><b>{html.escape(headline)}</b></p>{''.join(parts)}"


def numbered(items: Sequence[str]) -> str:
    """An ordered list of what is HTML already; nothing without items."""
    return f"<ol>{''.join(f'<li>{one}</li>' for one in items)}</ol>" if items else ""


def listed(sentences: Iterable[str]) -> str:
    """A plain list of words."""
    items = "".join(f"<li>{html.escape(one)}</li>" for one in sentences)
    return f"<ul>{items}</ul>" if items else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """A table of words; the first column names its row.

    Args:
        head: of each column.
        rows: of texts, as many as `head`; one that begins with `<` is escaped like any other.
        words: so many columns from the left are words, the others numbers.
    """
    styles = [_TEXT if place < words else _NUMBER for place in range(len(head))]
    heads = "".join(
        f'<th scope="col" style="{style}">{html.escape(one)}</th>'
        for one, style in zip(head, styles)
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{_body(rows, styles)}</tbody></table>"


def _body(rows: Iterable[Sequence[str]], styles: Sequence[str]) -> str:
    written = []
    for row in rows:
        first, *others = row
        cells = "".join(
            f'<td style="{style}">{html.escape(one)}</td>' for one, style in zip(others, styles[1:])
        )
        written.append(f'<tr><th scope="row" style="{_TEXT}">{html.escape(first)}</th>{cells}</tr>')
    return "".join(written)


def more(n: int, noun: str) -> str:
    """ "and 12 more classes", or nothing."""
    return paragraph(f"and {n:,} more {noun}") if n > 0 else ""


def bar(share: float | None, *, cells: int = 10) -> str:
    """A share in [0, 1] as a bar of characters, as in the terminal."""
    if share is None:
        return ""
    full = round(share * cells)
    return "█" * full + "·" * (cells - full)
