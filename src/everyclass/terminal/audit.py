"""An audit as something to read in a terminal. Comes in: an `Audit`. Computes only shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.bar import Bar
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from everyclass.images.audit_values import Audit, AuditWarning, Harm
from everyclass.images.readers_rules import plural
from everyclass.images.table import SetAside

SHOWN_CLASSES = 24
SHOWN_FILES = 5

_STYLES: dict[Harm, str] = {"invalid": "bold red", "harmful": "yellow", "notable": "cyan"}
_SPLIT_TITLES = {"train": "train", "val": "val", "test": "test", "": "no split"}


def audit_view(audit: Audit) -> RenderableType:
    """The whole audit: classes, what was guessed, pixels, what was left out, warnings, and what it
    all comes to.
    """
    return Group(*_sections(audit))


def _sections(audit: Audit) -> Iterable[RenderableType]:
    yield Text()
    yield _headline(audit)
    if audit.classes:
        yield _class_table(audit)
    if audit.notes:
        yield _titled("How it was read", _sentences(audit.notes))
    yield _titled("Pixels", _pixel_table(audit))
    left_out = (*audit.unreadable, *audit.set_aside)
    if left_out:
        yield _titled(f"Left out: {plural(len(left_out), 'image')}", _left_out(left_out))
    yield _titled(_warnings_title(audit.warnings), _warning_table(audit.warnings))
    yield _titled("What this means", _sentences(audit.meaning))


def _headline(audit: Audit) -> Text:
    parts = [Text(audit.source, style="bold"), Text(plural(audit.n, "image"))]
    if audit.classes:
        parts.append(Text(plural(len(audit.classes), "class", "classes")))
    if audit.imbalance_ratio is not None:
        parts.append(Text(f"imbalance ratio {audit.imbalance_ratio:.3g}"))
    return Text("  ·  ", style="dim").join(parts)


def _titled(title: str, body: RenderableType) -> RenderableType:
    return Group(
        Rule(Text(title, style="bold"), align="left", style="dim"), Padding(body, (0, 0, 1, 1))
    )


def _class_table(audit: Audit) -> Table:
    table = Table(box=SIMPLE_HEAD, expand=True, padding=(0, 1), header_style="dim", pad_edge=False)
    table.add_column("class", overflow="ellipsis", no_wrap=True, max_width=28)
    table.add_column("images", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("", ratio=1, min_width=8)
    for part in audit.splits:
        table.add_column(_SPLIT_TITLES[part.split], justify="right", no_wrap=True)
    counts = audit.class_counts
    total, largest = max(1, sum(counts)), max(1, *counts)
    order = sorted(range(len(counts)), key=lambda c: -counts[c])
    shown, hidden = _ends(order)
    for place, c in enumerate(shown):
        if hidden and place == len(shown) // 2:
            table.add_row(Text(f"... {plural(len(hidden), 'class', 'classes')} between", "dim"))
        table.add_row(
            Text(audit.classes[c]),
            f"{counts[c]:,}",
            f"{counts[c] / total:.1%}",
            Bar(size=largest, begin=0, end=counts[c], color=_bar_colour(counts[c], largest)),
            *(_split_count(part.counts[c]) for part in audit.splits),
        )
    table.add_section()
    table.add_row(
        Text("all", "dim"),
        f"{sum(counts):,}",
        "",
        "",
        *(f"{sum(part.counts):,}" for part in audit.splits),
    )
    return table


def _ends(order: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """The largest and the smallest classes, and those between, which are not shown."""
    if len(order) <= SHOWN_CLASSES:
        return order, ()
    half = SHOWN_CLASSES // 2
    return [*order[:half], *order[-half:]], order[half:-half]


def _bar_colour(count: int, largest: int) -> str:
    return "green" if 3 * count > largest else "yellow" if 20 * count > largest else "red"


def _split_count(count: int) -> Text:
    return Text(f"{count:,}", "red" if count == 0 else "")


def _pixel_table(audit: Audit) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, words in _pixel_facts(audit):
        table.add_row(name, Text(words))
    return table


def _pixel_facts(audit: Audit) -> Iterable[tuple[str, str]]:
    sizes = audit.sizes
    if sizes.distinct == 1:
        yield "size", f"all {sizes.width.low:,} x {sizes.height.low:,} px"
    else:
        yield (
            "size",
            f"width {sizes.width.low:,} to {sizes.width.high:,} (median {sizes.width.median:,}), "
            f"height {sizes.height.low:,} to {sizes.height.high:,} (median "
            f"{sizes.height.median:,}) px",
        )
        common = ", ".join(f"{width} x {height} ({n:,})" for width, height, n in sizes.common[:3])
        yield "", f"{plural(sizes.distinct, 'size')}; most frequent {common}"
    yield "stored as", _kinds(audit)
    values = (min(kind.low for kind in audit.kinds), max(kind.high for kind in audit.kinds))
    yield (
        "values",
        f"{values[0]} to {values[1]}, as RGB of 8 bits at {audit.side} x {audit.side} px",
    )
    where = "train" if audit.has_train else "all images"
    yield "mean", f"{_colour(audit.mean)}   of {where}, at {audit.side} x {audit.side} px"
    yield "deviation", f"{_colour(audit.std)}   pooled over pixels, on a scale from 0 to 1"


def _kinds(audit: Audit) -> str:
    counts: Counter[str] = Counter()
    for kind in audit.kinds:
        bits = "1 bit" if kind.bit_depth == 1 else f"{kind.bit_depth} bits"
        counts[f"{kind.format} {kind.mode}, {bits}"] += kind.n
    if len(counts) == 1:
        return next(iter(counts))
    shown = "; ".join(f"{words} ({n:,})" for words, n in counts.most_common(6))
    return shown + (f"; {len(counts) - 6} more" if len(counts) > 6 else "")


def _colour(values: tuple[float, float, float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def _left_out(images: Sequence[SetAside]) -> RenderableType:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(overflow="fold", ratio=1)
    table.add_column(overflow="fold", ratio=1)
    for found in images[:SHOWN_FILES]:
        table.add_row(Text(found.image), Text(found.reason, "yellow"))
    if len(images) > SHOWN_FILES:
        table.add_row(Text(f"{len(images) - SHOWN_FILES:,} more: --json FILE lists all", "dim"))
    return table


def _warnings_title(warnings: Sequence[AuditWarning]) -> str:
    if not warnings:
        return "No warnings"
    counts = Counter(warning.harm for warning in warnings)
    return f"{plural(len(warnings), 'warning')}: " + ", ".join(
        f"{counts[harm]} {harm}" for harm in _STYLES if counts[harm]
    )


def _warning_table(warnings: Sequence[AuditWarning]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for place, warning in enumerate(warnings):
        if place:
            table.add_row()
        table.add_row(Text(warning.harm, _STYLES[warning.harm]), Text(warning.sentence))
        table.add_row("", Text(f"→ {warning.remedy}", "dim"))
    return table


def _sentences(sentences: Sequence[str]) -> Table:
    table = Table.grid(padding=(0, 1))
    for sentence in sentences:
        table.add_row(Text("•", "dim"), Text(sentence))
    return table
