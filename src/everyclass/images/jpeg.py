"""JPEG content -> header and RGB pixels as stored, strictly.

Pixels come from libjpeg-turbo in strict mode: a file that ends early or whose data do not decode is
refused, not filled with grey. Complaints that concern no pixel (`_harmless`) hand the file to
Pillow, which has the same libjpeg inside and gives the same pixels, bit for bit (tested).

Functions raise what the decoders raise (`everyclass.images.damage.DAMAGE`).
"""

from __future__ import annotations

import io
import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from everyclass.images.orientation import exif_orientation

_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # baseline, extended, progressive; arithmetic
_PROGRESSIVE = frozenset({0xC2, 0xCA})
_APP1, _START_OF_SCAN, _FILL = 0xE1, 0xDA, 0xFF


class JpegHeader(NamedTuple):
    """What the header says.

    Args:
        width, height: as stored, before any rotation.
        mode: "L", "RGB" or "CMYK", in Pillow's words: how YCbCr and YCCK are handed out.
        orientation: EXIF, 1 to 8.
        one_scan: all components lie in one sequential scan. Otherwise (progressive, or a scan a
            component) libjpeg keeps the whole image in memory, at whatever scale it decodes.
    """

    width: int
    height: int
    mode: str
    orientation: int
    one_scan: bool


def read_header(content: bytes) -> JpegHeader:
    """The header of a JPEG.

    An ordinary header without EXIF is read here, in a fifth of the time that Pillow takes; threads
    that audit small images would otherwise wait for one another. Pillow reads all others.
    """
    header, has_metadata = _walk(content)
    if header is not None and not has_metadata:
        return header
    image = JpegImageFile(io.BytesIO(content))
    return JpegHeader(
        width=image.width,
        height=image.height,
        mode=image.mode,
        orientation=exif_orientation(image),
        one_scan=header is not None and header.one_scan,
    )


def _walk(content: bytes) -> tuple[JpegHeader | None, bool]:
    """The header by its marker segments (None = not an ordinary one), and whether it has an APP1.

    Source: ITU-T T.81, annex B.
    """
    position, frame, components, has_metadata = 2, 0, 0, False
    width = height = 0
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == _FILL:
            position += 1
            continue
        body = position + 4
        if marker in _FRAMES and body + 6 <= len(content):
            frame, components = marker, content[body + 5]
            height = int.from_bytes(content[body + 1 : body + 3])
            width = int.from_bytes(content[body + 3 : body + 5])
            if content[body] != 8:  # bits a channel
                return None, has_metadata
        elif marker == _APP1:
            has_metadata = True
        elif marker == _START_OF_SCAN:
            if width == 0 or height == 0 or components not in _MODES or body >= len(content):
                return None, has_metadata
            one_scan = frame not in _PROGRESSIVE and content[body] == components
            return JpegHeader(width, height, _MODES[components], 1, one_scan), has_metadata
        position += 2 + int.from_bytes(content[position + 2 : body])
    return None, has_metadata


def jpeg_pixels(
    content: bytes, header: JpegHeader, *, reduced_by: int = 1
) -> npt.NDArray[np.uint8]:
    """(H, W, 3) RGB as stored, not yet rotated; at 1/2, 1/4 or 1/8 of the size where asked."""
    space = "CMYK" if header.mode == "CMYK" else "RGB"
    # libjpeg rounds up; asking for exactly that size makes it choose this scale. 0 = full size.
    height, width = (
        (0, 0) if reduced_by == 1 else (-(-n // reduced_by) for n in (header.height, header.width))
    )
    try:
        pixels = simplejpeg.decode_jpeg(content, space, min_height=height, min_width=width)
    except ValueError as error:
        if not _harmless(str(error), content):
            raise
        image = JpegImageFile(io.BytesIO(content))
        image.draft(image.mode, (header.width // reduced_by, header.height // reduced_by))
        return np.asarray(image.convert("RGB"))
    if space == "RGB":
        return np.asarray(pixels)
    inverted = np.subtract(255, pixels, dtype=np.uint8)  # Adobe's convention, and Pillow's
    return np.asarray(Image.fromarray(inverted, "CMYK").convert("RGB"))


_HARMLESS = (
    "unknown JFIF revision number",
    "Unknown Adobe color transform code",
    "Invalid SOS parameters for sequential JPEG",
    "Could not determine subsampling level",  # unusual, but libjpeg itself decodes it
)
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")


def _harmless(complaint: str, content: bytes) -> bool:
    """Whether libjpeg-turbo complains of something that touches no pixel.

    Bytes left over at the end are harmless when they are padding, one value repeated, as some
    cameras write it. When they are data, the decoder lost its place somewhere before.
    """
    left_over = _EXTRANEOUS.search(complaint)
    if left_over is None:
        return any(text in complaint for text in _HARMLESS)
    end = content.rfind(b"\xff\xd9")
    return len(set(content[max(0, end - int(left_over[1])) : end])) == 1
