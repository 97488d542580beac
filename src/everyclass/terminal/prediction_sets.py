"""Prediction sets as lines. Comes in: what was predicted or evaluated. Goes out: text.

Class names are data: they are never read as markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from everyclass.calibrations import ClassCoverage, SetEvaluation

if TYPE_CHECKING:
    from everyclass.workflows.predict import PredictedSets

MOST_SIZES = 4
"""Set sizes that are counted one by one; larger ones together."""

MOST_CLASSES = 12
"""With more classes than this, only the one that is covered least is named."""


def sets_lines(sets: PredictedSets) -> Text:
    """How many sets of which size, and what is promised for which classes."""
    shown, rest = sets.sizes[:MOST_SIZES], sets.sizes[MOST_SIZES:]
    parts = [f"{size} in {images:,}" for size, images in shown]
    if shown:
        size, images = shown[0]
        classes, counted = "class" if size == 1 else "classes", "image" if images == 1 else "images"
        parts[0] = f"{size} {classes} in {images:,} {counted}"
    if rest:
        parts.append(f"{rest[0][0]} or more in {sum(images for _, images in rest):,}")
    mean = "" if sets.mean_size is None else f" (mean {sets.mean_size:.2f})"
    told = f"{', '.join(parts)}{mean}" if parts else "none"
    return Text(f"Sets at {100 * sets.coverage:g} % coverage: {told}.\n{sets.sentence}")


def coverage_lines(sets: SetEvaluation) -> Text:
    """The coverage that sets reached, class by class, and what they cost."""
    line = Text(
        f"Sets at {100 * sets.coverage:g} % coverage: {sets.mean_size:.2f} classes in the mean, "
        f"with the right one for {sets.reached:.2f} of the images"
    )
    judged = [one for one in sets.classes if one.n]
    if len(judged) <= MOST_CLASSES:
        line.append("; by class: ")
        for k, one in enumerate(judged):
            line.append(", " if k else "")
            line.append(f"{one.name} {one.coverage or 0.0:.2f}", style=_style(one, sets.coverage))
    else:
        least = min(judged, key=lambda one: (one.coverage or 0.0, -one.n))
        line.append(f"; least '{least.name}', {least.coverage or 0.0:.2f} of {least.n:,}")
        low = sum(_style(one, sets.coverage) != "" for one in judged)
        if low:
            line.append(f"; {low:,} classes below it by more than chance", style="yellow")
    line.append(".")
    if sets.same_images:
        line.append(" The thresholds come from validation images among these.", style="yellow")
    if sets.not_guaranteed:
        names = ", ".join(f"'{name}'" for name in sets.not_guaranteed[:MOST_CLASSES])
        more = len(sets.not_guaranteed) - MOST_CLASSES
        line.append(
            f" In every set, for fewer than {sets.images_needed:,} validation images: {names}"
            f"{f' and {more:,} more' if more > 0 else ''}."
        )
    return line


def _style(one: ClassCoverage, asked: float) -> str:
    """Yellow where even the upper end of the interval is below what was asked for."""
    return "yellow" if one.coverage_ci95 is not None and one.coverage_ci95[1] < asked else ""
