"""The one definition of a pixel: bytes -> RGB uint8 -> resized. Knows no table and no split.

Audit, training, evaluation and prediction all decode here, so that an image has the same pixels
everywhere. Formats: JPEG, PNG, WebP, TIFF, BMP, GIF, DICOM (its rules: `everyclass.images.dicom`)
and PPM, in which parts of slides come; told apart by content and not by name. Of a file with
several frames or pages the first is the image; a DICOM of several is refused. The rule of each mode
(Pillow's names):

    mode as stored       becomes RGB by
    1                    0 -> 0, 1 -> 255
    L (1 to 8 bits)      the value three times; 1, 2 and 4 bits are spread over 0..255
    P                    its palette
    RGB                  as it is
    LA, RGBA, PA, and    composited over white, as viewers show it: what is transparent is white
      transparency keys    whatever colour is stored below
    16 bits a channel    the high byte (v // 256), of grey and of colour alike; no stretching by
                           the image's own range, which would erase differences between images.
                           TIFF grey of n bits (9 to 16): v // 2**(n - 8). Transparency keys of
                           16-bit grey are ignored
    CMYK, YCCK           (255 - c)(255 - k) / 255, and so on; JPEG stores these inverted (Adobe)
    YCbCr                BT.601, full range, as in JPEG
    LAB                  to sRGB by colour management (LittleCMS)
    F (32-bit float)     round(255 v) when all values lie in [0, 1]; otherwise refused
    I (32-bit integers)  refused: nothing says which range means black to white

Colour profiles are not applied. The EXIF orientation is. Resizing stretches to a square, bilinear
with antialiasing (`everyclass.images.resizing` says how). Whatever cannot be decoded raises
UnreadableImage with the reason; no other picture, and no black one, ever takes its place.

JPEG is decoded strictly (`everyclass.images.jpeg`): a file that ends early is refused, not filled
with grey.

Where a JPEG is to be resized and is larger by far, it is decoded at 1/2, 1/4 or 1/8 of its size, by
fewer coefficients of its cosine transform (`_scale_for`), and resized from there: 1.5 to 3.7 times
as fast. Against decoding it whole, pixels differ by less than one of 255 in the mean, and standard
deviations by 1 % at most (benchmarks/RESULTS.md).

No image takes more memory than MAX_PIXELS allows. A larger JPEG is decoded at 1/2, 1/4 or 1/8
of its size, so that the full image never exists; a larger file of another format is refused.
"""

from __future__ import annotations

import io
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from everyclass.images.contents import read_bytes
from everyclass.images.damage import DAMAGE, UnreadableImage, describe_damage
from everyclass.images.jpeg import jpeg_pixels, read_header
from everyclass.images.orientation import exif_orientation, upright
from everyclass.images.resizing import RGB, resize
from everyclass.images.signatures import ImageFormat, describe, image_format

PIXELS_VERSION = 3
"""Changes whenever the same bytes would give other pixels; stored pixels carry it."""
MAX_PIXELS = 178_956_970
"""Width x height above which nothing is decoded whole (the limit at which Pillow refuses)."""

_REDUCED_PIXELS = 1 << 24  # what a giant is brought to where 1/8 suffices: 50 MB of RGB
_BIG_PIXELS = 1 << 25  # above, one image at a time: each takes 7 bytes a pixel or more meanwhile
_BIG_TURN = threading.Lock()

_PLUGINS: dict[ImageFormat, type[ImageFile.ImageFile]] = {
    # The classes and not Image.open, which looks at every format it knows and warns of sizes that
    # are read here.
    "PNG": PngImageFile,
    "WebP": WebPImageFile,
    "TIFF": TiffImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "PPM": PpmImageFile,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecodedImage:
    """An image as RGB, and what the file said about itself.

    Args:
        rgb: (H, W, 3) uint8, C-contiguous, after the EXIF rotation.
        format: "JPEG", "PNG", "WebP", "TIFF", "BMP", "GIF", "DICOM" or "PPM".
        mode: as stored, in Pillow's words: "L", "RGB", "RGBA", "P", "CMYK", "I;16", ...
        bit_depth: bits of one channel as stored.
        width, height: in pixels after the rotation; of the original even when decoded reduced.
        reduced_by: 2, 4 or 8 = a giant JPEG, which is never decoded whole; else 1.
    """

    rgb: RGB
    format: ImageFormat
    mode: str
    bit_depth: int
    width: int
    height: int
    reduced_by: int


def load_image(path_or_uri: str, *, side: int) -> RGB:
    """The pixels a network is given for this file.

    Args:
        path_or_uri: as the image column of a table holds it (`everyclass.images.contents`).
        side: in pixels.
    Returns:
        (side, side, 3) uint8.
    Raises:
        UnreadableImage: with the reason.
    """
    return decode_resized(read_bytes(path_or_uri), side=side).rgb


def decode(content: bytes) -> DecodedImage:
    """Bytes to RGB uint8 by the rules in this module's docstring.

    Raises:
        UnreadableImage: with the reason.
    """
    return _decode(content, side=None)


def decode_resized(content: bytes, *, side: int) -> DecodedImage:
    """As `decode`, with `rgb` resized to (side, side, 3).

    Images above 33 megapixels take turns, so that many threads need no more memory than one.

    Raises:
        UnreadableImage: with the reason.
    """
    return _decode(content, side=side)


def stated_size(content: bytes) -> tuple[int, int]:
    """Width and height in pixels by the header alone, before any rotation; nothing is decoded.

    Raises:
        UnreadableImage: with the reason.
        InputError: a DICOM, and pydicom is not installed.
    """
    name = image_format(content)
    if name is None:
        raise UnreadableImage(f"not an image: {describe(content)}")
    try:
        if name == "JPEG":
            header = read_header(content)
            return header.width, header.height
        if name == "DICOM":
            from everyclass.images.dicom import open_dicom

            image = open_dicom(content)
            return image.width, image.height
        return _PLUGINS[name](io.BytesIO(content)).size
    except DAMAGE as error:
        raise UnreadableImage(describe_damage(name, error)) from error


def _decode(content: bytes, *, side: int | None) -> DecodedImage:
    name = image_format(content)
    if name is None:
        raise UnreadableImage(f"not an image: {describe(content)}")
    try:
        if name == "JPEG":
            return _decode_jpeg(content, side=side)
        if name == "DICOM":
            return _decode_dicom(content, side=side)
        return _decode_other(content, name, side=side)
    except DAMAGE as error:
        raise UnreadableImage(describe_damage(name, error)) from error


def _decode_jpeg(content: bytes, *, side: int | None) -> DecodedImage:
    header = read_header(content)
    width, height = header.width, header.height
    reduced_by = 1
    if width * height > MAX_PIXELS:
        if not header.one_scan:
            raise UnreadableImage(
                f"a progressive JPEG of {_megapixels(width, height)}, which decodes only as a "
                f"whole: {_ADVICE}"
            )
        fits = (by for by in (2, 4) if width * height // by**2 <= _REDUCED_PIXELS)
        reduced_by = next(fits, 8)
    scale = reduced_by if side is None else max(reduced_by, _scale_for(width, height, side=side))
    # What has several scans is kept whole by the decoder, at whatever scale it gives it out.
    with _turn(width * height // (scale**2 if header.one_scan else 1)):
        rgb = upright(jpeg_pixels(content, header, reduced_by=scale), header.orientation)
        if header.orientation >= 5:
            width, height = height, width
        return DecodedImage(
            rgb=rgb if side is None else resize(rgb, side=side),
            format="JPEG",
            mode=header.mode,
            bit_depth=8,
            width=width,
            height=height,
            reduced_by=reduced_by,
        )


def _scale_for(width: int, height: int, *, side: int) -> int:
    """The fraction at which a JPEG may be decoded before it is resized to a square of this side.

    At 1/2 the decoder averages well: what comes out has to be as large as the square. At 1/4 and
    1/8 it has to be twice as large, and the resizing does the averaging.
    """
    shorter = min(width, height)
    for by, room in ((8, 2), (4, 2), (2, 1)):
        if shorter >= by * room * side:
            return by
    return 1


def _decode_other(content: bytes, name: ImageFormat, *, side: int | None) -> DecodedImage:
    image = _PLUGINS[name](io.BytesIO(content))
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImage(f"a {name} of {_megapixels(image.width, image.height)}: {_ADVICE}")
    mode, bit_depth = image.mode, _bit_depth(image, name, content)
    with _turn(image.width * image.height):
        image.load()
        # TIFF: Pillow has turned it by now, and its orientation reads 1.
        rgb = upright(_to_rgb(image, name, bit_depth), exif_orientation(image))
        height, width = rgb.shape[:2]
        return DecodedImage(
            rgb=rgb if side is None else resize(rgb, side=side),
            format=name,
            mode=mode,
            bit_depth=bit_depth,
            width=width,
            height=height,
            reduced_by=1,
        )


def _decode_dicom(content: bytes, *, side: int | None) -> DecodedImage:
    from everyclass.images.dicom import open_dicom  # with pydicom, only where one is read

    image = open_dicom(content)
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImage(f"a DICOM of {_megapixels(image.width, image.height)}: {_ADVICE}")
    with _turn(image.width * image.height):
        rgb = image.rgb()
        return DecodedImage(
            rgb=rgb if side is None else resize(rgb, side=side),
            format="DICOM",
            mode="RGB" if not image.grey else "L" if image.bit_depth <= 8 else "I;16",
            bit_depth=image.bit_depth,
            width=image.width,
            height=image.height,
            reduced_by=1,
        )


_ADVICE = f"above {MAX_PIXELS / 1e6:.0f} megapixels, export a smaller copy or cut it into tiles"


def _megapixels(width: int, height: int) -> str:
    return f"{width * height / 1e6:,.0f} megapixels ({width:,} x {height:,})"


def _turn(pixels: int) -> AbstractContextManager[Any]:
    return _BIG_TURN if pixels > _BIG_PIXELS else nullcontext()


def _bit_depth(image: ImageFile.ImageFile, name: ImageFormat, content: bytes) -> int:
    if name == "PNG":
        return content[24]  # the first chunk is IHDR: width, height, depth
    if isinstance(image, TiffImageFile):
        bits = image.tag_v2.get(258, (1,))
        return int(bits[0] if isinstance(bits, tuple) else bits)
    return 1 if image.mode == "1" else 8


def _to_rgb(image: ImageFile.ImageFile, name: ImageFormat, bit_depth: int) -> RGB:
    """(H, W, 3) of a loaded image that is not a JPEG."""
    if image.mode.startswith("I;16"):
        values = np.asarray(image)
        if isinstance(image, TiffImageFile) and image.tag_v2.get(262) == 0:  # white is zero
            values = (1 << bit_depth) - 1 - values
        return _grey((values >> (bit_depth - 8)).astype(np.uint8))
    if image.mode == "I":
        low, high = image.getextrema()
        raise UnreadableImage(
            f"{name} of 32-bit integers ({low:,} to {high:,}): nothing says which range means "
            "black to white; save it with 8 or 16 bits"
        )
    if image.mode == "F":
        return _grey(_unit_floats(np.asarray(image), name))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _unit_floats(values: npt.NDArray[np.float32], name: ImageFormat) -> npt.NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0.0 and high <= 1.0):  # also for NaN, which no comparison accepts
        raise UnreadableImage(
            f"{name} of floats from {low:g} to {high:g}: only values in [0, 1] have a known "
            "meaning; save it with 8 or 16 bits"
        )
    whole: npt.NDArray[np.uint8] = np.floor(values * 255 + 0.5).astype(np.uint8)
    return whole


def _grey(values: npt.NDArray[np.uint8]) -> RGB:
    rgb: RGB = np.repeat(values[..., None], 3, axis=2)
    return rgb
