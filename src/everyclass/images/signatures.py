"""What a file is, by its first bytes. Comes in: content. Goes out: a format name, or words.

File names are not asked: a PNG called `scan.jpg` is a PNG, and a web page saved under an image's
name is called a web page.
"""

from __future__ import annotations

from typing import Literal

ImageFormat = Literal["JPEG", "PNG", "WebP", "TIFF", "BMP", "GIF", "DICOM", "PPM"]

_IMAGES: tuple[tuple[int, bytes, ImageFormat], ...] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBP", "WebP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"BM", "BMP"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (128, b"DICM", "DICOM"),
    (0, b"P6\n", "PPM"),
)
_OTHERS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs", "a Git LFS pointer, not the image: run 'git lfs pull'"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (4, b"ftypheic", "a HEIC image"),
    (4, b"ftypmif1", "a HEIC or AVIF image"),
    (4, b"ftypavif", "an AVIF image"),
    (4, b"ftyp", "a video or audio file"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (0, b"\x00\x00\x01\x00", "an icon file"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x89HDF", "an HDF5 file"),
)
_TEXT_BYTES = frozenset({9, 10, 12, 13, *range(32, 127)})


def image_format(content: bytes) -> ImageFormat | None:
    """The image format of these bytes, or None when it is none of the formats that are read."""
    for offset, magic, name in _IMAGES:
        if content.startswith(magic, offset):
            return name
    return None


def describe(content: bytes) -> str:
    """What a file that is not one of the image formats seems to be, in words.

    Example:
        >>> describe(b"")
        'an empty file (0 bytes)'
        >>> describe(b"<!DOCTYPE html><title>404 Not Found")
        "a web page ('<!DOCTYPE html><title>404 Not Found')"
    """
    if not content:
        return "an empty file (0 bytes)"
    start = content[:512].lstrip()
    for offset, magic, words in _OTHERS:
        if (start if offset == 0 else content).startswith(magic, offset):
            return words
    if not content.strip(b"\0"):
        return f"a file of {len(content):,} zero bytes"
    if start[:1] == b"<" and (b"<html" in start.lower() or b"<!doctype html" in start.lower()):
        return f"a web page ({_quote(start)})"
    if start and set(start) <= _TEXT_BYTES:
        return f"a text file ({_quote(start)})"
    return f"a file of an unknown kind (first bytes {content[:8].hex(' ')})"


def _quote(start: bytes) -> str:
    words = " ".join(start[:80].decode("ascii", "replace").split())
    return repr(words if len(words) <= 40 else f"{words[:40]}...")
