"""A DICOM file -> one image of 8 bits a channel.

    photometric interpretation       becomes
    MONOCHROME1, MONOCHROME2         the modality's values (rescale slope and intercept, or its
                                     table), then the window; MONOCHROME1, where low is white, is
                                     inverted
    RGB, YBR_*                       RGB, of more than 8 bits the high byte
    PALETTE COLOR                    its palette

The window is, in this order: the file's table of values of interest (VOI LUT); its first window
centre and width (LINEAR, LINEAR_EXACT or SIGMOID, PS3.3 C.11.2.1); without either, the range from
the 0.5th to the 99.5th percentile of this image's values, padding left out. The last erases
differences in brightness between images: where these matter, write a window into the files.

One frame only: of several nobody knows which one the label is about.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from everyclass.errors import InputError
from everyclass.images.damage import UnreadableImage, describe_damage
from everyclass.images.resizing import RGB

PERCENTILES = (0.5, 99.5)
_Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DicomImage:
    """A DICOM file, opened.

    Args:
        width, height: in pixels.
        bit_depth: bits stored of one channel.
        grey: whether it has one channel.
    """

    width: int
    height: int
    bit_depth: int
    grey: bool
    _data: Any

    def rgb(self) -> RGB:
        """(H, W, 3) uint8.

        Raises:
            UnreadableImage: its pixels are missing, damaged, or compressed in a way that needs a
                package which is not installed.
        """
        from pydicom.pixels import pixel_array

        try:
            pixels = np.asarray(pixel_array(self._data))
            shown = _grey(pixels, self._data) if self.grey else _colour(pixels, self._data)
        except UnreadableImage:
            raise
        except Exception as error:
            # pydicom and the decoders that it calls raise whatever their input leads them to.
            raise UnreadableImage(_reason(error)) from error
        if shown.shape != (self.height, self.width, 3):
            raise UnreadableImage(f"damaged DICOM: pixels of the shape {pixels.shape}")
        return np.ascontiguousarray(shown)


def open_dicom(content: bytes) -> DicomImage:
    """Read the header.

    Raises:
        UnreadableImage: damaged, without pixels, or of several frames.
        InputError: pydicom is not installed.
    """
    try:
        import pydicom
    except ImportError as error:
        raise InputError(
            "DICOM images need the package 'pydicom'.", remedy="pip install 'everyclass[dicom]'."
        ) from error
    try:
        data = pydicom.dcmread(io.BytesIO(content))
        if "PixelData" not in data:
            raise UnreadableImage(
                f"a DICOM file without pixels ({data.get('Modality', 'unknown')})"
            )
        frames = int(data.get("NumberOfFrames") or 1)
        if frames != 1:
            raise UnreadableImage(
                f"a DICOM of {frames:,} frames: save the one that the label is about by itself"
            )
        return DicomImage(
            width=int(data.Columns),
            height=int(data.Rows),
            bit_depth=int(data.BitsStored),
            grey=int(data.SamplesPerPixel) == 1
            and str(data.PhotometricInterpretation).startswith("MONOCHROME"),
            _data=data,
        )
    except UnreadableImage:
        raise
    except Exception as error:
        raise UnreadableImage(_reason(error)) from error


def _reason(error: Exception) -> str:
    reason = describe_damage("DICOM", error)
    if "missing dependencies" in reason or "unable to decompress" in reason.lower():
        return f"a compressed DICOM that needs another package: {' '.join(str(error).split())}"
    return reason


def _grey(pixels: npt.NDArray[Any], data: Any) -> RGB:
    from pydicom.pixels import apply_modality_lut, apply_voi

    values = np.asarray(apply_modality_lut(pixels, data), dtype=np.float64)
    if data.get("VOILUTSequence"):
        bits = int(data.VOILUTSequence[0].LUTDescriptor[2])
        unit = np.asarray(apply_voi(values.astype(np.int64), data)) / (2.0**bits - 1)
    elif data.get("WindowWidth") is not None and data.get("WindowCenter") is not None:
        unit = _windowed(
            values,
            _first(data.WindowCenter),
            _first(data.WindowWidth),
            str(data.get("VOILUTFunction") or "LINEAR"),
        )
    else:
        unit = _stretched(values, pixels, data)
    if data.PhotometricInterpretation == "MONOCHROME1":
        unit = 1.0 - unit
    grey = np.floor(np.clip(unit, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _first(value: Any) -> float:
    return float(value) if isinstance(value, (int, float, str)) else float(value[0])


def _windowed(values: _Values, centre: float, width: float, function: str) -> _Values:
    """Values in [0, 1] and beyond; source: PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    if function == "SIGMOID":
        return np.asarray(1.0 / (1.0 + np.exp(-4.0 * (values - centre) / width)))
    if function == "LINEAR_EXACT":
        return np.asarray((values - centre) / width + 0.5)
    if width <= 1:
        return np.asarray((values > centre - 0.5).astype(np.float64))
    return np.asarray((values - (centre - 0.5)) / (width - 1) + 0.5)


def _stretched(values: _Values, pixels: npt.NDArray[Any], data: Any) -> _Values:
    shown = values
    if data.get("PixelPaddingValue") is not None:
        kept = pixels != int(data.PixelPaddingValue)
        shown = values[kept] if kept.any() else values
    low, high = np.percentile(shown, PERCENTILES)
    if high <= low:
        return np.asarray((values > low).astype(np.float64))
    return np.asarray((values - low) / (high - low))


def _colour(pixels: npt.NDArray[Any], data: Any) -> RGB:
    if data.PhotometricInterpretation == "PALETTE COLOR":
        from pydicom.pixels import apply_color_lut

        pixels = np.asarray(apply_color_lut(pixels, data))
        bits = int(data.RedPaletteColorLookupTableDescriptor[2])
    else:
        bits = int(data.BitsStored)
    return (pixels >> max(0, bits - 8)).astype(np.uint8)[..., :3]
