"""What slices of an evaluation are made of: how large and how bright each image is.

Comes in: numbers that the audit or a classifying pass had on its way; nothing is decoded for them.
Goes out: the slices of an evaluation. Never torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from everyclass.images.greys import mean_greys
from everyclass.images.records import Records
from everyclass.images.table import ImageTable
from everyclass.slices import SliceFindings
from everyclass.stats.slices import Numbers, find_slices


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Looks:
    """Of some images, in order.

    Args:
        short_sides: (N,) int64, shorter side in pixels as stored.
        greys: (N,) float64, mean grey in [0, 1] at the network's size, 0 black and 1 white.
    """

    short_sides: npt.NDArray[np.int64]
    greys: npt.NDArray[np.float64]

    @classmethod
    def of_records(cls, records: Records, *, side: int) -> Looks:
        """Of the images of an audit.

        Args:
            records: (N,) `records.RECORD`.
            side: at which they were made.
        """
        looks = records["look"]
        return cls(
            short_sides=np.minimum(looks["width"], looks["height"]).astype(np.int64),
            greys=mean_greys(records["sums"].astype(np.float64), pixels=side**2),
        )

    def take(self, rows: npt.NDArray[np.int64]) -> Looks:
        """Of these images."""
        return Looks(short_sides=self.short_sides[rows], greys=self.greys[rows])


def sliced(
    correct: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.int64],
    *,
    classes: Sequence[str],
    table: ImageTable,
    looks: Looks | None,
) -> SliceFindings:
    """Slices by group, shorter side and brightness.

    Args:
        correct: (N,) whether each image was given its class.
        labels: (N,) class ids.
        classes: C names.
        table: of the same N images; its groups are used.
        looks: of the same images; None where they are not known.
    """
    numbers: tuple[Numbers, ...] = ()
    if looks is not None:
        sides = looks.short_sides.astype(np.float64)
        numbers = (
            Numbers(attribute="shorter side", values=sides, digits=0, words=size_words),
            Numbers(attribute="brightness", values=looks.greys, digits=2, words=grey_words),
        )
    return find_slices(
        correct, labels, classes=classes, numbers=numbers, groups=table.groups().tolist()
    )


def size_words(low: float | None, high: float | None) -> str:
    """Images of these sizes."""
    if low is None:
        return f"images with a shorter side below {high:,.0f} px"
    if high is None:
        return f"images with a shorter side of {low:,.0f} px or more"
    if low == high:
        return f"images with a shorter side of {low:,.0f} px"
    return f"images with a shorter side of {low:,.0f} to {high - 1:,.0f} px"


def grey_words(low: float | None, high: float | None) -> str:
    """Images of this brightness."""
    if low is None:
        return f"images darker than {high:.2f} (mean grey, from 0 to 1)"
    if high is None:
        return f"images of mean grey {low:.2f} or lighter (from 0 to 1)"
    if low == high:
        return f"images of mean grey {low:.2f} (from 0 to 1)"
    return f"images of mean grey {low:.2f} to {high:.2f} (from 0 to 1)"
