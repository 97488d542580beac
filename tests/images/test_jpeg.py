"""JPEG headers read by hand: the same as Pillow's, or left to Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from everyclass.images import jpeg
from everyclass.images.jpeg import read_header


def encoded(mode: str = "RGB", size: tuple[int, int] = (61, 47), **options) -> bytes:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def oriented(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


VARIANTS = [
    ("RGB", {}),
    ("RGB", {"progressive": True}),
    ("RGB", {"subsampling": 0, "optimize": True}),
    ("RGB", {"restart_marker_blocks": 2}),
    ("RGB", {"keep_rgb": True}),
    ("RGB", {"comment": b"\xff\xda in a comment", "icc_profile": b"\xff\xc0" * 40_000}),
    ("L", {}),
    ("CMYK", {}),
]


@pytest.mark.parametrize(("mode", "options"), VARIANTS)
def test_oracle_the_header_is_pillows_and_pillow_is_not_asked(mode, options, monkeypatch):
    content = encoded(mode, **options)
    expected = JpegImageFile(io.BytesIO(content))
    monkeypatch.setattr(jpeg, "JpegImageFile", None)
    header = read_header(content)
    assert (header.width, header.height, header.mode) == (*expected.size, expected.mode)
    assert (header.orientation, header.one_scan) == (1, "progressive" not in options)


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_with_exif_pillow_reads_the_header(orientation):
    header = read_header(encoded(exif=oriented(orientation)))
    assert header == (61, 47, "RGB", orientation, True)
    assert not read_header(encoded(exif=oriented(1), progressive=True)).one_scan


def test_orientation_in_xmp_is_found():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    assert read_header(encoded(xmp=xmp)).orientation == 6


def test_fill_bytes_before_a_marker_are_allowed():
    content = encoded()
    at = content.index(b"\xff\xc0")
    assert read_header(content[:at] + b"\xff\xff" + content[at:]) == read_header(content)


def test_a_scan_a_component_is_not_one_scan():
    content = encoded()
    at = content.index(b"\xff\xda") + 4
    assert read_header(content).one_scan
    assert not read_header(content[:at] + b"\x01" + content[at + 1 :]).one_scan


def test_every_header_that_is_cut_off_is_refused_or_pillows():
    content = encoded()
    end = content.index(b"\xff\xda")
    for cut in range(3, end):
        walked, _ = jpeg._walk(content[:cut])
        assert walked is None
    for at in range(2, end):  # and each byte damaged: an answer or an ordinary error, never a hang
        damaged = content[:at] + b"\0" + content[at + 1 :]
        walked, _ = jpeg._walk(damaged)
        assert walked is None or walked.mode in ("L", "RGB", "CMYK")
