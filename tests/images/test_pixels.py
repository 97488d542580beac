"""Pixels: every mode's rule by hand, the two JPEG decoders against each other, damaged files."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import sys
import warnings
import zlib

import fsspec
import numpy as np
import pytest
from PIL import Image, ImageOps

from everyclass.errors import InputError
from everyclass.images import contents, pixels
from everyclass.images.contents import read_bytes
from everyclass.images.damage import UnreadableImage
from everyclass.images.pixels import decode, decode_resized, load_image, stated_size
from everyclass.images.resizing import resize


def encoded(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def picture(width: int = 61, height: int = 47, seed: int = 0) -> Image.Image:
    """A smooth colour picture: noise at one ninth of the size, enlarged."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 9 + 1, width // 9 + 1, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def reason(content: bytes) -> str:
    with pytest.raises(UnreadableImage) as caught:
        decode(content)
    assert str(caught.value) == caught.value.reason
    return caught.value.reason


def one_pixel(mode: str, value, file_format: str = "PNG", **options) -> list[int]:
    image = Image.new(mode, (3, 2), value)
    return decode(encoded(image, file_format, **options)).rgb[1, 2].tolist()


# The rule of each mode, by hand.


@pytest.mark.parametrize(
    ("mode", "value", "file_format", "expected"),
    [
        ("1", 1, "PNG", [255, 255, 255]),
        ("1", 0, "TIFF", [0, 0, 0]),
        ("L", 7, "PNG", [7, 7, 7]),
        ("L", 7, "BMP", [7, 7, 7]),
        ("RGB", (1, 2, 3), "PNG", [1, 2, 3]),
        ("RGB", (1, 2, 3), "TIFF", [1, 2, 3]),
        ("RGBA", (1, 2, 3, 255), "PNG", [1, 2, 3]),
        ("RGBA", (1, 2, 3, 0), "PNG", [255, 255, 255]),
        ("LA", (9, 0), "PNG", [255, 255, 255]),
        # (100 * 51 + 255 * 204) / 255 = 20 + 204
        ("RGBA", (100, 0, 255, 51), "PNG", [224, 204, 255]),
        ("LA", (100, 51), "PNG", [224, 224, 224]),
        ("RGBA", (100, 0, 255, 51), "TIFF", [224, 204, 255]),
        # No black: 255 - c. With k = 51 (a fifth): (255 - c) * 204 / 255.
        ("CMYK", (10, 20, 30, 0), "TIFF", [245, 235, 225]),
        ("CMYK", (0, 55, 255, 51), "TIFF", [204, 160, 0]),
    ],
)
def test_mode_rules(mode, value, file_format, expected):
    assert one_pixel(mode, value, file_format) == expected


def test_palette_with_and_without_transparency():
    image = Image.new("P", (3, 2), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    for file_format in ("PNG", "GIF", "BMP", "TIFF"):
        assert decode(encoded(image, file_format)).rgb[0, 0].tolist() == [40, 50, 60]
    for file_format in ("PNG", "GIF"):
        content = encoded(image, file_format, transparency=1)
        assert decode(content).rgb[0, 0].tolist() == [255, 255, 255]
    # PNG keeps an alpha for each palette entry: (40 * 51 + 255 * 204) / 255 = 212.
    content = encoded(image, "PNG", transparency=bytes([255, 51]))
    assert decode(content).rgb[0, 0].tolist() == [212, 214, 216]


def test_transparent_colour_key_of_rgb_and_grey():
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    content = encoded(image, "PNG", transparency=(1, 2, 3))
    assert decode(content).rgb.tolist() == [[[255, 255, 255], [9, 9, 9]]]
    grey = encoded(Image.new("L", (1, 1), 5), "PNG", transparency=5)
    assert decode(grey).rgb.tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bits_keep_the_high_byte_without_stretching(file_format):
    values = np.array([[0, 255, 256, 4095, 32768, 65535]], dtype=np.uint16)
    image = decode(encoded(Image.fromarray(values), file_format))
    assert image.rgb[0, :, 0].tolist() == [0, 0, 1, 15, 128, 255]
    assert (image.mode[:4], image.bit_depth) == ("I;16", 16)


def png(depth: int, colour: int, rows: list[bytes], width: int) -> bytes:
    """A PNG by hand, for what Pillow reads and does not write. Source: PNG specification."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_sixteen_bit_colour_and_grey_agree_and_small_depths_spread():
    colour = decode(png(16, 2, [struct.pack(">3H", 256, 4095, 65535)], 1))
    assert (colour.rgb.tolist(), colour.mode, colour.bit_depth) == ([[[1, 15, 255]]], "RGB", 16)
    two_bits = decode(png(2, 0, [bytes([0b00011011])], 4))
    assert (two_bits.rgb[0, :, 0].tolist(), two_bits.bit_depth) == ([0, 85, 170, 255], 2)


def tiff(tags: dict[int, tuple[int, int]], data: bytes) -> bytes:
    """A little-endian TIFF of one strip, for what Pillow reads and does not write.

    Args:
        tags: tag -> (type, value) with values that fit 4 bytes; strip tags are added.
        data: the strip. Source: TIFF 6.0.
    """
    entries = {**tags, 273: (4, 8), 278: (4, tags[257][1]), 279: (4, len(data))}
    directory = struct.pack("<H", len(entries))
    for tag, (kind, value) in sorted(entries.items()):
        directory += struct.pack("<HHII", tag, kind, 1, value)
    padded = data + b"\0" * (len(data) % 2)
    return b"II*\0" + struct.pack("<I", 8 + len(padded)) + padded + directory + b"\0" * 4


def grey_tiff(bits: int, photometric: int, data: bytes, width: int) -> bytes:
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric, 277: 1}
    return tiff({tag: (3, value) for tag, value in tags.items()}, data)


def test_tiff_of_twelve_bits_and_of_white_is_zero():
    # Two 12-bit values, 0xFFF and 0x123, in three bytes: 4095 // 16 and 291 // 16.
    twelve = decode(grey_tiff(12, 1, bytes([0xFF, 0xF1, 0x23]), 2))
    assert (twelve.rgb[0, :, 0].tolist(), twelve.bit_depth) == ([255, 18], 12)
    inverted = decode(grey_tiff(16, 0, struct.pack("<2H", 0, 65535), 2))
    assert inverted.rgb[0, :, 0].tolist() == [255, 0]


def test_floats_are_read_in_the_unit_range_only():
    values = np.array([[0.0, 0.5, 1.0]], dtype=np.float32)
    image = decode(encoded(Image.fromarray(values), "TIFF"))
    assert (image.rgb[0, :, 0].tolist(), image.mode, image.bit_depth) == ([0, 128, 255], "F", 32)
    assert reason(encoded(Image.fromarray(values * 200), "TIFF")) == (
        "TIFF of floats from 0 to 200: only values in [0, 1] have a known meaning; "
        "save it with 8 or 16 bits"
    )
    assert "floats from nan" in reason(encoded(Image.fromarray(values * np.nan), "TIFF"))


def test_integers_of_32_bits_are_refused_with_their_range():
    values = np.array([[0, 70000]], dtype=np.int32)
    assert reason(encoded(Image.fromarray(values), "TIFF")) == (
        "TIFF of 32-bit integers (0 to 70,000): nothing says which range means black to white; "
        "save it with 8 or 16 bits"
    )


def test_ycbcr_and_lab_tiff():
    # Mid grey is (128, 128, 128) in YCbCr; L* = 100 is white, and Pillow holds a* = 0 as 128.
    # Compressed: Pillow 12.3 cannot read a plain one back that it wrote.
    grey = one_pixel("YCbCr", (128, 128, 128), "TIFF", compression="tiff_lzw")
    assert max(abs(value - 128) for value in grey) <= 1
    white, black = (one_pixel("LAB", (lightness, 128, 128), "TIFF") for lightness in (255, 0))
    assert min(white) >= 254  # LittleCMS rounds
    assert max(black) <= 1


def test_first_frame_of_animations_and_first_page_of_tiff():
    red, blue = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 255))
    for file_format in ("GIF", "WEBP", "TIFF", "PNG"):
        options = {"lossless": True} if file_format == "WEBP" else {}
        content = encoded(red, file_format, save_all=True, append_images=[blue], **options)
        assert decode(content).rgb[0, 0].tolist() == [255, 0, 0], file_format


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_as_pillow_applies_it(file_format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if file_format == "WEBP" else {}
    content = encoded(picture(), file_format, exif=exif, **options)
    image = decode(content)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))
    np.testing.assert_array_equal(image.rgb, expected)
    assert (image.height, image.width) == expected.shape[:2]
    assert image.rgb.flags.c_contiguous


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_impossible_orientation_turns_nothing(value):
    exif = Image.Exif()
    exif[0x0112] = value
    assert decode(encoded(picture(), "JPEG", exif=exif)).rgb.shape == (47, 61, 3)


def test_facts_of_the_file():
    image = decode(encoded(picture(), "JPEG"))
    assert (image.format, image.mode, image.bit_depth) == ("JPEG", "RGB", 8)
    assert (image.width, image.height, image.reduced_by) == (61, 47, 1)
    assert decode(encoded(picture().convert("P"), "GIF")).mode == "P"
    assert decode(encoded(picture(), "WEBP")).format == "WebP"


# Two decoders, one result.


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (8, 16), (61, 47), (150, 101)])
@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("L", {}),
        ("RGB", {"subsampling": 0}),
        ("RGB", {"subsampling": 1}),
        ("RGB", {"subsampling": 2}),
        ("RGB", {"quality": 30, "progressive": True}),
        ("RGB", {"keep_rgb": True}),
        ("RGB", {"restart_marker_blocks": 1}),
        ("CMYK", {}),
    ],
)
def test_oracle_jpeg_pixels_are_those_of_pillow_bit_for_bit(size, mode, options):
    content = encoded(picture(*size).convert(mode), "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    np.testing.assert_array_equal(decode(content).rgb, expected)


def with_app0_revision(content: bytes, revision: int) -> bytes:
    at = content.index(b"JFIF\0") + 5
    return content[:at] + bytes([revision]) + content[at + 1 :]


def with_sampling(content: bytes, sampling: int) -> bytes:
    """Component 1 restated with another sampling factor: unusual, and the data do not fit it."""
    at = content.index(b"\xff\xc0") + 11
    return content[:at] + bytes([sampling]) + content[at + 1 :]


def test_complaints_that_touch_no_pixel_lose_no_image():
    plain = encoded(picture().convert("CMYK"), "JPEG")
    expected = decode(plain).rgb
    for padding in (b"\0\0\0", b"\xff" * 5 + b"\0"):
        padded = plain[:-2] + padding + plain[-2:]
        np.testing.assert_array_equal(decode(padded).rgb, expected)
    content = encoded(picture(), "JPEG")
    revised = with_app0_revision(content, 7)
    np.testing.assert_array_equal(decode(revised).rgb, decode(content).rgb)


def test_left_over_data_means_the_decoder_lost_its_place():
    content = encoded(picture(), "JPEG", subsampling=0)
    assert "extraneous bytes before marker 0xd9" in reason(with_sampling(content, 0x21))
    assert reason(with_sampling(content, 0x33)).startswith("damaged JPEG: ")


def test_harmless_complaints_do_not_hide_a_truncation():
    revised = with_app0_revision(encoded(picture(), "JPEG"), 7)
    assert reason(revised[: len(revised) // 2]).startswith("truncated JPEG: ")


# Broken files: each has its own reason.


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_truncated_jpeg(options):
    content = encoded(picture(), "JPEG", **options)
    for cut in (len(content) - 2, len(content) - 20, len(content) // 2, 300, 20):
        words = reason(content[:cut])
        assert words.startswith(("truncated JPEG: ", "damaged JPEG: ")), (cut, words)
    assert reason(content[:-20]) == "truncated JPEG: Premature end of JPEG file"


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_truncated_files_of_other_formats(file_format):
    content = encoded(picture(), file_format)
    assert reason(content[: len(content) * 2 // 3]).split(":")[0].split()[0] in (
        "truncated",
        "damaged",
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not an image: an empty file (0 bytes)"),
        (b"\0" * 4096, "not an image: a file of 4,096 zero bytes"),
        (b"hello there\n", "not an image: a text file ('hello there')"),
        (b"\n<!DOCTYPE html>\n<p>404", "not an image: a web page ('<!DOCTYPE html> <p>404')"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "not an image: a Git LFS pointer, not the image: run 'git lfs pull'",
        ),
        (b"%PDF-1.7\n\xe2\xe3", "not an image: a PDF document"),
        (b"\0\0\0\x18ftypheic", "not an image: a HEIC image"),
        (bytes(range(200, 220)), "not an image: a file of an unknown kind (first bytes "),
        # Which of the two is Pillow's to say: it changed its mind at 12.3.
        (b"\xff\xd8\xff", ("damaged JPEG: its header makes", "truncated JPEG: the file ends")),
        (b"BM", "truncated BMP: the file ends within its header"),
    ],
)
def test_what_is_not_an_image_is_called_by_its_name(content, expected):
    assert reason(content).startswith(expected)


def test_a_file_is_what_its_content_says(tmp_path):
    path = tmp_path / "scan.jpg"
    path.write_bytes(encoded(picture(), "PNG"))
    assert decode(read_bytes(str(path))).format == "PNG"


def test_reading_says_why_not(tmp_path):
    for path, expected in (
        (tmp_path / "gone.png", "no such file"),
        (tmp_path, "a folder, not a file"),
        (tmp_path / "a\0b", "not a possible path: embedded null byte"),
    ):
        with pytest.raises(UnreadableImage) as caught:
            read_bytes(str(path))
        assert caught.value.reason == expected
    locked = tmp_path / "locked.png"
    locked.write_bytes(b"x")
    locked.chmod(0)
    if not os.access(locked, os.R_OK):  # root may read everything
        with pytest.raises(UnreadableImage, match="no permission"):
            read_bytes(str(locked))


def test_a_file_too_large_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "large.tif"
    path.write_bytes(b"II*\0" + b"\0" * 200_000)
    monkeypatch.setattr(contents, "MAX_FILE_BYTES", 100_000)
    with pytest.raises(UnreadableImage, match="are read"):
        read_bytes(str(path))


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_files_of_any_size_are_read_whole(tmp_path, size):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    assert read_bytes(str(path)) == path.read_bytes()


def test_an_end_of_jpeg_inside_a_file_does_not_end_it(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"\0" * 65_534 + b"\xff\xd9" + b"more")
    assert read_bytes(str(path)) == path.read_bytes()


def test_uris_are_read_through_fsspec():
    with fsspec.open("memory://set/a.png", "wb") as file:
        file.write(encoded(picture(), "PNG"))
    np.testing.assert_array_equal(
        load_image("memory://set/a.png", side=16), resize(np.asarray(picture()), side=16)
    )
    with pytest.raises(UnreadableImage, match="no such file"):
        read_bytes("memory://set/none.png")
    with pytest.raises(InputError, match="nosuch://a\\.png cannot be opened"):
        read_bytes("nosuch://a.png")


SAMPLES = {
    "jpeg": encoded(picture(), "JPEG"),
    "progressive": encoded(picture(), "JPEG", progressive=True),
    "cmyk": encoded(picture().convert("CMYK"), "JPEG"),
    "png": encoded(picture(), "PNG"),
    "palette": encoded(picture().convert("P"), "PNG"),
    "gif": encoded(picture(), "GIF", save_all=True, append_images=[picture(seed=1)]),
    "bmp": encoded(picture(), "BMP"),
    "webp": encoded(picture(), "WEBP"),
    "lossless": encoded(picture().convert("RGBA"), "WEBP", lossless=True),
    "tiff": encoded(picture(), "TIFF"),
    "pages": encoded(picture(), "TIFF", save_all=True, append_images=[picture(seed=1)]),
    "lzw": encoded(picture(), "TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_fuzz_only_unreadable_image_comes_out(name):
    """Bytes changed and cut off at random, half of them in the header: decoded or refused."""
    original, rng, refused = SAMPLES[name], random.Random(name), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of damaged metadata
        for _ in range(150):
            content = bytearray(original)
            for _ in range(rng.choice((1, 2, 8))):
                at = rng.randrange(200 if rng.random() < 0.5 else len(content))
                content[at] = rng.choice((0, 255, rng.randrange(256), content[at] ^ 1))
            if rng.random() < 0.3:
                del content[rng.randrange(len(content)) :]
            try:
                image = decode(bytes(content))
            except UnreadableImage:
                refused += 1
                continue
            assert (image.rgb.dtype, image.rgb.shape[2]) == (np.uint8, 3)
    assert refused > 15


# Resizing.


def test_load_image_is_read_decode_resize(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(picture(39, 47), "JPEG"))  # too small to be decoded at a half
    loaded = load_image(str(path), side=20)
    np.testing.assert_array_equal(loaded, resize(decode(path.read_bytes()).rgb, side=20))
    assert (loaded.shape, loaded.dtype) == ((20, 20, 3), np.uint8)


@pytest.mark.parametrize(
    ("width", "height", "scale"),
    [(127, 640, 1), (128, 640, 2), (640, 511, 2), (640, 512, 4), (1023, 2000, 4), (1024, 1024, 8)],
)
def test_large_jpegs_are_decoded_at_a_fraction_and_give_about_the_same_pixels(
    monkeypatch, width, height, scale
):
    asked = []
    plain = pixels.jpeg_pixels

    def noted(content, header, *, reduced_by=1):
        asked.append(reduced_by)
        return plain(content, header, reduced_by=reduced_by)

    monkeypatch.setattr(pixels, "jpeg_pixels", noted)
    smooth = picture(width // 6, height // 6).resize((width, height), Image.Resampling.BICUBIC)
    content = encoded(smooth, "JPEG", quality=90)
    image = decode_resized(content, side=64)
    assert asked == [scale]
    assert (image.width, image.height, image.reduced_by) == (width, height, 1)
    whole = resize(decode(content).rgb, side=64).astype(float)
    assert np.abs(image.rgb - whole).mean() < 1
    assert abs(image.rgb.std() / whole.std() - 1) < 0.01


# Giants.


def restated(content: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame header states another size; the data are those of the small one."""
    at = max(content.find(marker) for marker in (b"\xff\xc0\0\x11\x08", b"\xff\xc2\0\x11\x08"))
    return content[: at + 5] + struct.pack(">HH", height, width) + content[at + 9 :]


def test_giants_that_cannot_be_decoded_reduced_are_refused_by_name():
    progressive = restated(encoded(picture(), "JPEG", progressive=True), 20_000, 10_000)
    assert reason(progressive) == (
        "a progressive JPEG of 200 megapixels (20,000 x 10,000), which decodes only as a whole: "
        "above 179 megapixels, export a smaller copy or cut it into tiles"
    )
    bomb = png(8, 0, [b"\0"], 1)[:33]
    ihdr = struct.pack(">II", 60_000, 60_000) + bomb[24:29]
    bomb = bomb[:16] + ihdr + struct.pack(">I", zlib.crc32(b"IHDR" + ihdr))
    bomb += png(8, 0, [b"\0"], 1)[33:]
    assert reason(bomb) == (
        "a PNG of 3,600 megapixels (60,000 x 60,000): above 179 megapixels, export a smaller copy "
        "or cut it into tiles"
    )


_MEASURE = """
import resource, sys
from everyclass.images.contents import read_bytes
from everyclass.images.pixels import decode_resized
content = read_bytes(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
image = decode_resized(content, side=32)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(image.width, image.height, image.reduced_by, int(image.rgb.max()), (after - before) // 1024)
"""


def test_a_giant_jpeg_is_decoded_reduced_in_bounded_memory(tmp_path):
    """20,000 x 10,000 would be 600 MB of RGB; an eighth of that is allowed here."""
    path = tmp_path / "giant.jpg"
    Image.new("L", (20_000, 10_000), 200).save(path)
    run = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    width, height, reduced_by, high, mebibytes = map(int, run.stdout.split())
    assert (width, height, reduced_by, high) == (20_000, 10_000, 4, 200)
    assert mebibytes < 150


def test_oracle_a_reduced_jpeg_resembles_the_whole_one(monkeypatch):
    """Metamorphic: with the limit lowered, the reduced decoding agrees after resizing."""
    content = encoded(picture(800, 600).convert("RGB"), "JPEG", quality=95)
    whole = decode_resized(content, side=32).rgb.astype(int)
    monkeypatch.setattr(pixels, "MAX_PIXELS", 400_000)
    monkeypatch.setattr(pixels, "_REDUCED_PIXELS", 150_000)
    image = decode_resized(content, side=32)
    assert (image.reduced_by, image.width, image.height) == (2, 800, 600)
    assert np.abs(image.rgb.astype(int) - whole).max() <= 4
    padded = decode_resized(with_app0_revision(content, 7), side=32)  # Pillow's own reduction
    np.testing.assert_array_equal(padded.rgb, image.rgb)


def test_big_images_take_turns(monkeypatch):
    monkeypatch.setattr(pixels, "_BIG_PIXELS", 100)
    content = encoded(picture(), "PNG")
    decode_resized(content, side=8)
    assert not pixels._BIG_TURN.locked()
    reason(content[:-200])
    assert not pixels._BIG_TURN.locked()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
def test_the_stated_size_is_that_of_the_image_and_costs_no_decoding(form: str) -> None:
    stored = io.BytesIO()
    Image.new("RGB", (31, 17), (200, 30, 30)).save(stored, form)
    content = stored.getvalue()
    assert stated_size(content) == (31, 17)
    if form in ("JPEG", "PNG", "BMP", "PPM"):  # their pixels are the end of the file
        assert stated_size(content[:-20]) == (31, 17)
        with pytest.raises(UnreadableImage):
            decode(content[:-20])
    with pytest.raises(UnreadableImage, match="not an image"):
        stated_size(b"hello")
