"""What an audit keeps of an image: one record of fixed size.

Comes in: measured images. Goes out: arrays of `RECORD`. Records hold no path, no label and no
split: the same file gives the same record wherever it is listed, so that they can be kept between
audits. Knows no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from everyclass.images.greys import grey_levels
from everyclass.images.likeness import likeness_codes
from everyclass.images.looks import LOOK, looks_of, tones_of
from everyclass.images.resizing import RGB
from everyclass.stats.moments import channel_sums, largest_deviation

BLANK_DEVIATION = 2.0
"""Of 255: an image whose channels deviate less from their means shows nothing. One black pixel on
white at 64 px deviates by 4."""

DIGEST_BYTES = 16
DIGEST = np.dtype([("high", ">u8"), ("low", ">u8")])
RECORD = np.dtype(
    [
        ("row", "<i8"),
        ("digest", DIGEST),
        ("kind", "S14"),
        ("reduced", "?"),
        ("sums", "<u4", 3),
        ("squares", "<u8", 3),
        ("low", "u1"),
        ("high", "u1"),
        ("blank", "?"),
        ("level", "u1"),
        ("tells", "?"),
        ("likeness", "<u8", 2),
        ("look", LOOK),
    ]
)
"""Of an image: its row; BLAKE2b of the file's content; format, mode and bits of a channel as
stored; whether it is a giant, decoded at a fraction; sums of its pixels and of their squares at the
training size, by channel; lowest and highest value; whether it shows nothing, and its mean level;
whether its likeness codes mean anything, and these; how it looks (with its size as stored)."""

RECORDS_VERSION = 3
"""Changes whenever the same pixels would give another record."""

Records = npt.NDArray[np.void]
KindKey = tuple[str, str, int]
"""Format, mode, bits of a channel."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageFacts:
    """One image as it was read.

    Args:
        row: of the table.
        digest: 16 bytes, BLAKE2b of the file's content.
        width, height: in pixels as stored, after the EXIF rotation.
        kind: format, mode and bits of a channel as stored.
        reduced: a giant, decoded at a fraction of its size.
        pixels: (S, S, 3) uint8, at the training size.
    """

    row: int
    digest: bytes
    width: int
    height: int
    kind: KindKey
    reduced: bool
    pixels: RGB


def records_of(images: Sequence[ImageFacts]) -> Records:
    """Measure some images: (B,) of `RECORD`; B is at least 1, the side of all is one.

    All at once, since a call of numpy costs as much as a small image's pixels.
    """
    found = np.zeros(len(images), dtype=RECORD)
    pixels = np.stack([facts.pixels for facts in images])
    found["row"] = [facts.row for facts in images]
    found["digest"] = np.frombuffer(b"".join(facts.digest for facts in images), dtype=DIGEST)
    found["kind"] = [" ".join(map(str, facts.kind)).encode() for facts in images]
    found["reduced"] = [facts.reduced for facts in images]
    n_pixels = pixels[0].size // 3
    sums, squares = channel_sums(pixels.reshape(len(images), n_pixels, 3))
    found["sums"], found["squares"] = sums, squares
    every = pixels.reshape(len(images), -1)
    found["low"], found["high"] = every.min(axis=1), every.max(axis=1)
    found["blank"] = largest_deviation(sums, squares, n_pixels) < BLANK_DEVIATION
    found["level"] = np.rint(sums.sum(axis=1) / (3 * n_pixels))
    greys = grey_levels(pixels)
    found["likeness"], found["tells"] = likeness_codes(greys)
    found["look"] = looks_of(
        tones_of(greys),
        grey=_are_grey(pixels, sums),
        sizes=np.array([(facts.width, facts.height) for facts in images]),
    )
    return found


def _are_grey(pixels: RGB, sums: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Whether the three channels of each image are one; only where their sums are, it is looked."""
    found: npt.NDArray[np.bool_] = (sums == sums[:, :1]).all(axis=1)
    for place in np.flatnonzero(found):
        found[place] = (pixels[place] == pixels[place, ..., :1]).all()
    return found


def kind_of(kind: bytes) -> KindKey:
    """A record's kind, as it was measured."""
    name, mode, bits = kind.decode().split(" ")
    return name, mode, int(bits)
