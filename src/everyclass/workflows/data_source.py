"""Where the images of a data set are, and which of them is in which split.

Comes in: what a user says of the data. Goes out: a table. Decodes nothing, decides nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from everyclass.errors import InputError
from everyclass.images.folds import LEFT_OUT
from everyclass.images.readers import read_table
from everyclass.images.slides import tiling_of
from everyclass.images.split import assign_splits
from everyclass.images.table import ImageTable

DEFAULT_FRACTION = 0.15
MAX_UNREADABLE = 0.01
SIDE_WHEN_UNKNOWN = 64  # no header of the sample could be read; the audit will say why


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """Where the data are and how to read them.

    Args:
        source: folder, CSV, TSV or Parquet file, archive, pattern of shards, or a URI of one.
        image_column, label_column, split_column, group_column: of a manifest; None = guess.
        image_root: folder that the paths of a manifest are relative to; None = look for it.
        tile_size: side of the tiles that slides are cut into, in pixels; None = a thumbnail each.
        tile_downsample: pixels of the full slide for one of a tile, along each side.
        max_unreadable: share of images that may be unreadable before the run stops, in [0, 1].
        assigned: (rows of the source,) int8, splits that stand in place of the source's own, as
            `ImageTable.split_codes`; a row of `LEFT_OUT` is not read. None for the source's own.
    """

    source: str
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    image_root: str | None = None
    tile_size: int | None = None
    tile_downsample: int = 1
    max_unreadable: float = MAX_UNREADABLE
    assigned: npt.NDArray[np.int8] | None = field(default=None, compare=False)

    def read(self, *, require_labels: bool = True) -> ImageTable:
        """The table as it stands in the source, splits only where given.

        Raises:
            InputError: it cannot be read, or has other rows than splits were assigned to.
        """
        table = read_table(
            self.source,
            image_column=self.image_column,
            label_column=self.label_column,
            split_column=self.split_column,
            group_column=self.group_column,
            image_root=self.image_root,
            tiling=tiling_of(self.tile_size, self.tile_downsample),
            require_labels=require_labels,
        )
        if self.assigned is None:
            return table
        if len(self.assigned) != len(table):
            raise InputError(
                f"{self.source} had {len(self.assigned):,} images a moment ago and has "
                f"{len(table):,} now.",
                remedy="Repeat the command once the data stay as they are.",
            )
        kept = np.flatnonzero(self.assigned != LEFT_OUT)
        return table.take(kept).with_split_codes(self.assigned[kept])


def check_fractions(*, val_fraction: float, test_fraction: float) -> None:
    """Refuse fractions that leave nothing to train on, before images are looked at."""
    if val_fraction + test_fraction >= 1:
        raise InputError(
            f"Validation ({val_fraction:g}) and test ({test_fraction:g}) leave no images to "
            "train on.",
            remedy="Make the sum of --val-fraction and --test-fraction less than 1.",
        )


def split_table(
    table: ImageTable,
    *,
    seed: int,
    val_fraction: float,
    test_fraction: float,
    contents: npt.NDArray[np.uint8],
) -> tuple[ImageTable, tuple[str, ...]]:
    """The table with every row in a split, and what could not be satisfied.

    Args:
        contents: (N, 16) uint8, a digest of each file: copies go together.
    """
    check_fractions(val_fraction=val_fraction, test_fraction=test_fraction)
    return assign_splits(
        table,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        seed=seed,
        contents=contents,
    )
