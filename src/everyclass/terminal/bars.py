"""A recall as a bar with its number, the same in every view."""

from __future__ import annotations

from rich.text import Text


def recall_bar(recall: float | None, *, cells: int = 24, missing: str = "no images") -> Text:
    """A bar of `cells` cells: red at zero, yellow below one half, green above.

    Args:
        recall: in [0, 1]; None is shown as `missing`.
    """
    if recall is None:
        return Text(missing, style="dim")
    filled = round(recall * cells)
    style = "red" if recall == 0 else "yellow" if recall < 0.5 else "green"
    return Text.assemble(
        ("█" * filled, style), ("·" * (cells - filled), "dim"), (f" {recall:.2f}", style)
    )
