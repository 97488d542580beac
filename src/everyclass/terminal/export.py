"""An export in the terminal. Comes in: what was written. Goes out: lines and a table.

Class names are data: they are never read as markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from everyclass.serving.cost import QuantisationCost
    from everyclass.serving.export import Exported

MOST_CLASSES = 30
"""Of more, those that change most are shown."""


def export_view(found: Exported) -> RenderableType:
    """Files, inputs and outputs, the comparison with PyTorch, the cost of eight bits."""
    classes = len(found.metadata["classes"])
    names = " and ".join(str(path) for path in found.files)
    lines = [
        Text(f"Written: {names} ({_size(found.n_bytes)}; {found.words})."),
        Text(
            f"In: images, uint8 RGB (batch, 3, height, width), of any size. Resizing to "
            f"{found.metadata['image_side']} px and normalisation are inside.\n"
            f"Out: probabilities (batch, {classes}), calibrated, at the training frequencies; "
            f"balanced_scores (batch, {classes}), whose largest is the decision for the highest "
            "mean recall."
        ),
        Text.assemble(
            "Beside PyTorch" if found.cost is None else "In float32 beside PyTorch",
            ", on ",
            found.parity.sentence,
        ),
    ]
    return Group(*lines) if found.cost is None else Group(*lines, *_cost(found.cost))


def _cost(cost: QuantisationCost) -> list[RenderableType]:
    shown = cost.classes
    if len(shown) > MOST_CLASSES:
        shown = tuple(
            sorted(shown, key=lambda one: -abs(one.after - one.before) / one.n)[:MOST_CLASSES]
        )
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("class", overflow="fold")
    for name in ("images", "recall float32", "int8", "change"):
        table.add_column(name, justify="right")
    for one in shown:
        change = (one.after - one.before) / one.n
        style = "yellow" if one.after < one.before else ""
        table.add_row(
            Text(one.name),
            f"{one.n:,}",
            f"{one.before / one.n:.3f}",
            f"{one.after / one.n:.3f}",
            Text(_change(change), style=style),
        )
    before, after = cost.balanced_accuracy
    table.add_row(
        Text("mean of all classes"),
        f"{sum(one.n for one in cost.classes):,}",
        f"{before:.3f}",
        f"{after:.3f}",
        _change(after - before),
    )
    batch, _, high, wide = cost.timed
    return [
        Text(
            f"\nint8, ranges from {cost.calibrated_on}; by the balanced decision on {cost.images}:"
        ),
        table,
        Text(
            f"{cost.agree:,} of {cost.n:,} decisions are those of float32; probabilities differ by "
            f"{cost.largest_difference:.2f} at most.\n"
            f"Size: {_size(cost.bytes_after)} instead of {_size(cost.bytes_before)} "
            f"({cost.bytes_after / cost.bytes_before:.2f} times). "
            f"Speed: {cost.rate_after:,.0f} instead of {cost.rate_before:,.0f} images a second "
            f"({cost.rate_after / cost.rate_before:.2f} times), on one core, {batch} at a time of "
            f"{wide} x {high} px."
        ),
    ]


def _change(value: float) -> str:
    return "0" if abs(value) < 5e-4 else f"{value:+.3f}"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e5 else f"{n_bytes / 1e3:.1f} kB"
