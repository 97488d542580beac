"""Classes with too few images to tell how well they are recognised, in words.

Comes in: a table in splits, or counts. Goes out: names with what their interval can be. Judges no
model.
"""

from __future__ import annotations

from collections.abc import Sequence

from everyclass.images.readers_rules import listed
from everyclass.images.table import ImageTable
from everyclass.stats.intervals import images_for_width, widest_interval

WIDEST = 0.4
"""A 95 % interval of a recall that is wider than this, as 0.30 to 0.70 is, tells little."""

LEAST_IMAGES = images_for_width(WIDEST)
"""With 21 images no 95 % interval of a recall is wider than that."""


def advice(table: ImageTable, *, source: str) -> tuple[str, ...]:
    """One sentence where classes have too few validation images to tell, else none.

    Args:
        table: in splits.
        source: what the user calls the data.
    """
    counts, everywhere = table.counts("val"), table.counts()
    few = [k for k, n in enumerate(counts.tolist()) if n < LEAST_IMAGES and everywhere[k] > n]
    if not few:
        return ()
    least = min(int(counts[k]) for k in few)
    names = listed([table.classes[k] for k in few])
    have, whose = ("has", "its") if len(few) == 1 else ("have", "their")
    width = widest_interval(least)
    return (
        f"{names} {have} fewer than {LEAST_IMAGES} validation images (the fewest: {least}): the "
        f"95 % interval of {whose} recall there can be {width:.2f} wide. To judge every class on "
        f"all of its images: everyclass crossval {source}",
    )


def few_in_one_split(
    classes: Sequence[str], counts: Sequence[int], *, fraction: float
) -> tuple[tuple[str, int], ...]:
    """Classes that a single split of this fraction would judge on too few images.

    Args:
        classes: names.
        counts: images of each.
        fraction: of the split.
    Returns:
        (name, images that the split would hold on average), those with images only.
    """
    expected = [round(fraction * n) for n in counts]
    return tuple(
        (name, held)
        for name, n, held in zip(classes, counts, expected)
        if n and held < LEAST_IMAGES
    )
