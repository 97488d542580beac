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

from everyclass.images.likeness import Greys, likeness_codes
from everyclass.images.looks import LOOK, Tones, looks_of
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

RECORDS_VERSION = 1
"""Changes whenever the same pixels would give another record."""

Records = npt.NDArray[np.void]
KindKey = tuple[str, str, int]
"""Format, mode, bits of a channel."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageFacts:
    """What was measured of one image.

    Args:
        row: of the table.
        digest: 16 bytes, BLAKE2b of the file's content.
        width, height: in pixels as stored, after the EXIF rotation.
        kind: format, mode and bits of a channel as stored.
        reduced: a giant, decoded at a fraction of its size.
        histogram: (3, 256) int64, pixel values at the training size.
        grey: (32, 32) uint8, what alike images are found by.
        tones: what odd images are found by.
    """

    row: int
    digest: bytes
    width: int
    height: int
    kind: KindKey
    reduced: bool
    histogram: npt.NDArray[np.int64]
    grey: Greys
    tones: Tones


def records_of(images: Sequence[ImageFacts]) -> Records:
    """(B,) of `RECORD`; B is at least 1."""
    found = np.zeros(len(images), dtype=RECORD)
    histograms = np.stack([facts.histogram for facts in images])
    found["row"] = [facts.row for facts in images]
    found["digest"] = np.frombuffer(b"".join(facts.digest for facts in images), dtype=DIGEST)
    found["kind"] = [" ".join(map(str, facts.kind)).encode() for facts in images]
    found["reduced"] = [facts.reduced for facts in images]
    found["sums"], found["squares"] = channel_sums(histograms)
    occurs = histograms.max(axis=1) > 0
    found["low"] = occurs.argmax(axis=1)
    found["high"] = 255 - occurs[:, ::-1].argmax(axis=1)
    found["blank"] = largest_deviation(histograms) < BLANK_DEVIATION
    pixels = histograms[:, 0].sum(axis=1)
    found["level"] = np.rint(found["sums"].sum(axis=1) / (3 * pixels))
    found["likeness"], found["tells"] = likeness_codes(np.stack([facts.grey for facts in images]))
    found["look"] = looks_of(
        np.stack([facts.tones.greys for facts in images]),
        np.stack([facts.tones.edges for facts in images]),
        histograms,
        np.array([(facts.width, facts.height) for facts in images]),
    )
    return found


def kind_of(kind: bytes) -> KindKey:
    """A record's kind, as it was measured."""
    name, mode, bits = kind.decode().split(" ")
    return name, mode, int(bits)
