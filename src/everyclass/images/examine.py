"""One image of an audit: read, decoded, resized.

Comes in: path or URI. Goes out: what was read of it, or what is wrong with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from everyclass.images.contents import read_bytes
from everyclass.images.damage import UnreadableImage
from everyclass.images.pixels import decode_resized
from everyclass.images.records import DIGEST_BYTES, RECORD, ImageFacts, Records, records_of
from everyclass.images.store_files import StoredPixels


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFault:
    """An image that cannot be read, and why."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some images of a table that are examined together.

    Attributes:
        rows: of the table.
        images: path or URI of each.
        side: the training size in pixels.
        places: the row of each in the store of their pixels; empty without a store.
    """

    rows: Sequence[int]
    images: Sequence[str]
    side: int
    places: Sequence[int] = ()

    def each(self) -> list[Chunk]:
        """Each image by itself."""
        return [
            Chunk(
                rows=[row],
                images=[self.images[at]],
                side=self.side,
                places=self.places[at : at + 1],
            )
            for at, row in enumerate(self.rows)
        ]


Examined = tuple[Records, list[ImageFault]]
"""Records of the images that could be read, and what is wrong with the others."""


def examine(image: str, *, row: int, side: int) -> ImageFacts | ImageFault:
    """Read and decode one image; `records_of` measures it, with others.

    Args:
        image: path or URI.
        row: its row, which the facts carry along.
        side: the training size in pixels.
    """
    try:
        content = read_bytes(image)
        decoded = decode_resized(content, side=side)
    except UnreadableImage as error:
        return ImageFault(row=row, reason=error.reason)
    return ImageFacts(
        row=row,
        digest=hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest(),
        width=decoded.width,
        height=decoded.height,
        kind=(decoded.format, decoded.mode, decoded.bit_depth),
        reduced=decoded.reduced_by > 1,
        pixels=decoded.rgb,
    )


def examine_chunk(chunk: Chunk, pixels: StoredPixels | None) -> Examined:
    """Examine a chunk in this process; the resized images go into `pixels`."""
    found: list[ImageFacts] = []
    faults: list[ImageFault] = []
    for at, (row, image) in enumerate(zip(chunk.rows, chunk.images, strict=True)):
        facts = examine(image, row=row, side=chunk.side)
        if isinstance(facts, ImageFault):
            faults.append(facts)
            continue
        if pixels is not None:
            pixels.put(chunk.places[at], facts.pixels)
        found.append(facts)
    return records_of(found) if found else np.zeros(0, dtype=RECORD), faults
