"""DICOM files: windows, inversion, colour, several frames, damage; written by pydicom."""

from __future__ import annotations

import io
import random
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from everyclass.errors import InputError
from everyclass.images.audit import audit_images
from everyclass.images.damage import UnreadableImage
from everyclass.images.pixels import decode
from everyclass.images.probe import short_sides
from everyclass.images.readers import read_table

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import FileDataset, FileMetaDataset  # noqa: E402
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid  # noqa: E402


def dicom(pixels: npt.NDArray[Any], **facts: Any) -> bytes:
    """An uncompressed file of these pixels, MONOCHROME2 unless `facts` say otherwise."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    bits = 8 * pixels.dtype.itemsize
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    if pixels.ndim == 3:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.Modality = "CT"
    data.PixelData = pixels.tobytes()
    for name, value in facts.items():
        setattr(data, name, value)
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def grey(content: bytes) -> list[int]:
    rgb = decode(content).rgb
    assert (rgb == rgb[..., :1]).all()
    return [int(value) for value in rgb[..., 0].ravel()]


HOUNSFIELD = np.array([[-2000, -161], [-160, 40], [239, 240]], dtype=np.int16)


def test_the_window_of_the_file_after_its_rescaling() -> None:
    # Centre 40, width 400: black up to -160, white from 239 on (PS3.3, C.11.2.1.2).
    stored = (HOUNSFIELD + 1024).astype(np.int16)
    content = dicom(
        stored, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400
    )
    assert grey(content) == [0, 0, 0, 128, 255, 255]
    image = decode(content)
    assert (image.format, image.mode, image.bit_depth) == ("DICOM", "I;16", 16)
    assert (image.width, image.height) == (2, 3)


def test_the_first_of_several_windows_and_the_other_functions() -> None:
    assert grey(dicom(HOUNSFIELD, WindowCenter=[40, 0], WindowWidth=[400, 2]))[3] == 128
    exact = dicom(HOUNSFIELD, WindowCenter=40, WindowWidth=400, VOILUTFunction="LINEAR_EXACT")
    assert grey(exact) == [0, 0, 0, 128, 254, 255]
    sigmoid = dicom(HOUNSFIELD, WindowCenter=40, WindowWidth=400, VOILUTFunction="SIGMOID")
    assert grey(sigmoid)[3] == 128
    assert 0 < grey(sigmoid)[2] < 40


def test_where_low_is_white() -> None:
    pixels = np.array([[0, 100], [200, 255]], dtype=np.uint8)
    facts = {"WindowCenter": 128, "WindowWidth": 256, "PhotometricInterpretation": "MONOCHROME1"}
    assert grey(dicom(pixels, **facts)) == [255, 155, 55, 0]


def test_without_a_window_the_percentiles_and_no_padding() -> None:
    pixels = np.arange(10_000, dtype=np.uint16).reshape(100, 100)
    values = grey(dicom(pixels))
    assert values[:51] == [0] * 51
    assert values[-51:] == [255] * 51
    assert values[5_000] in (127, 128)
    pixels[0, :] = 60_000
    values = grey(dicom(pixels, PixelPaddingValue=60_000))
    assert values[5_000] in (126, 127, 128)
    assert set(grey(dicom(np.full((4, 4), 7, dtype=np.uint16)))) == {0}


def test_colour() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size=(5, 4, 3), dtype=np.uint8)
    assert (decode(dicom(pixels)).rgb == pixels).all()
    assert decode(dicom(pixels)).mode == "RGB"
    by_plane = dicom(pixels, PlanarConfiguration=1, PixelData=pixels.transpose(2, 0, 1).tobytes())
    assert (decode(by_plane).rgb == pixels).all()
    # BT.601 of pure red, as YBR_FULL stores it.
    red = np.full((2, 2, 3), (76, 85, 255), dtype=np.uint8)
    found = decode(dicom(red, PhotometricInterpretation="YBR_FULL")).rgb[0, 0].astype(int)
    assert np.abs(found - (255, 0, 0)).max() <= 2
    wide = (pixels.astype(np.uint16) << 8) + 255
    assert (decode(dicom(wide)).rgb == pixels).all()


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"NumberOfFrames": 3}, "a DICOM of 3 frames: save the one that the label is about"),
        ({"Rows": 60_000, "Columns": 60_000}, "a DICOM of 3,600 megapixels"),
        ({"Rows": 300}, "damaged DICOM: "),
        ({"BitsAllocated": 12}, "damaged DICOM: "),
    ],
)
def test_what_is_refused(facts: dict[str, int], expected: str) -> None:
    with pytest.raises(UnreadableImage) as caught:
        decode(dicom(np.zeros((4, 4), dtype=np.uint16), **facts))
    assert caught.value.reason.startswith(expected)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_any_damage_is_a_reason() -> None:
    whole = dicom(HOUNSFIELD, WindowCenter=40, WindowWidth=400)
    draw = random.Random(0)
    for _ in range(300):
        content = bytearray(whole[: draw.randrange(132, len(whole) + 1)])
        for _ in range(draw.randrange(4) if len(content) > 132 else 0):
            content[draw.randrange(132, len(content))] = draw.randrange(256)
        with suppress(UnreadableImage):
            assert decode(bytes(content)).rgb.dtype == np.uint8


def test_a_folder_of_dicom_files(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for name in ("benign", "malign"):
        (tmp_path / name).mkdir()
        for k in range(3):
            pixels = noise.integers(0, 4_000, size=(40, 30)).astype(np.uint16)
            (tmp_path / name / f"{k}.dcm").write_bytes(dicom(pixels))
    table = read_table(tmp_path)
    assert table.classes == ("benign", "malign")
    assert short_sides(table, seed=0) == (30,) * 6
    assert audit_images(table, side=16, threads=2).n == 6


def test_dicom_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    content = dicom(HOUNSFIELD)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"pip install 'everyclass\[dicom\]'"):
        decode(content)
