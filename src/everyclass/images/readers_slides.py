"""A table of slides -> a table of their parts.

Comes in: a table, some of whose images are whole-slide images. Goes out: the same table with a
thumbnail for each, or with its tiles, which keep the slide's label and split and are one group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from everyclass.images.addresses import Address
from everyclass.images.damage import UnreadableImage
from everyclass.images.readers_rules import SLIDE_EXTENSIONS, plural
from everyclass.images.slides import THUMBNAIL_SIDE, Tiling, is_slide, tile_entries
from everyclass.images.table import SCHEMA, ImageTable

_TIFF = (".tif", ".tiff")
_ABOVE = "slide://"


def with_parts(table: ImageTable, tiling: Tiling | None) -> ImageTable:
    """The table with the parts of its slides in their place.

    A file is a slide by the ending of its name; a TIFF where tiles are asked for and OpenSlide can
    read it. A slide that gives no tile is set aside with the reason. A table without slides is
    returned as it is.

    Args:
        tiling: None = one thumbnail of 1,024 px a slide.
    Raises:
        InputError: OpenSlide is not installed.
    """
    slides = _slides(table, tiling is not None)
    if not len(slides):
        return table
    if tiling is None:
        entry = f"thumbnail,{THUMBNAIL_SIDE}"
        parts = [[str(Address("slide", table.image(int(row)), entry))] for row in slides]
        note = f"{plural(len(slides), 'slide')} read as thumbnails of {THUMBNAIL_SIDE:,} px."
        return _replaced(table, slides, parts, (note, *table.notes), grouped=False)
    parts, reasons = list[list[str]](), dict[int, str]()
    for row in slides.tolist():
        file = table.image(row)
        try:
            entries = tile_entries(file, tiling)
            if not entries:
                reasons[row] = f"no tile of it is at least {tiling.tissue:.0%} tissue"
        except UnreadableImage as error:
            entries, reasons[row] = [], error.reason
        except FileNotFoundError:
            entries, reasons[row] = [], "no such file"
        parts.append([str(Address("slide", file, entry)) for entry in entries])
    note = (
        f"{plural(sum(map(len, parts)), 'tile')} of {tiling.side} px, at 1/{tiling.downsample} of "
        f"the size, from {plural(len(slides), 'slide')}; each slide is a group."
    )
    cut = _replaced(table, slides, parts, (note, *table.notes), grouped=True)
    lost = table.without([*reasons], [*reasons.values()])
    return replace(cut, set_aside=lost.set_aside)


def _slides(table: ImageTable, tiff: bool) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    names = pc.utf8_lower(table.columns["image"].chunk(0))
    found = np.zeros(len(table), dtype=bool)
    for ending in SLIDE_EXTENSIONS:
        found |= np.asarray(pc.ends_with(names, ending))
    if tiff:
        for ending in _TIFF:
            for row in np.flatnonzero(np.asarray(pc.ends_with(names, ending))):
                found[row] = is_slide(table.image(int(row)))
    return np.flatnonzero(found)


def _replaced(
    table: ImageTable,
    rows: Sequence[int] | np.ndarray[tuple[int], np.dtype[np.int64]],
    parts: Sequence[Sequence[str]],
    notes: tuple[str, ...],
    *,
    grouped: bool,
) -> ImageTable:
    """Each of these rows as often as it has parts, in its place; the others once."""
    times = np.ones(len(table), dtype=np.int64)
    times[rows] = [len(own) for own in parts]
    source = np.repeat(np.arange(len(table)), times)
    taken = table.take(source)
    own = np.zeros(len(table), dtype=bool)
    own[rows] = True
    mask = pa.array(own[source])
    entries = pa.array([entry for each in parts for entry in each], pa.large_string())
    columns = taken.columns
    if grouped:
        group = taken.columns["group"].chunk(0)
        names = pc.if_else(pc.and_(mask, pc.is_null(group)), taken.keys(), group)
        place = SCHEMA.get_field_index("group")
        columns = columns.set_column(place, SCHEMA.field("group"), names)
    images = pc.replace_with_mask(columns["image"].chunk(0), mask, entries)
    place = SCHEMA.get_field_index("image")
    columns = columns.set_column(place, SCHEMA.field("image"), images)
    # Where all are parts, their folder is still what names leave out.
    root = f"{_ABOVE}{table.root}" if len(rows) == len(table) else table.root
    return replace(taken, columns=columns, notes=notes, root=root)
