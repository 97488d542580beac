"""Broken images, made from small whole ones: truncated, bits turned over, wrong headers, bombs.

    files = broken_images(10_000, seed=0)   # (kind, content) pairs, the same for the same seed

Whole images come in every format that is read, in several modes. A bomb is small and states or
unpacks to something huge.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from PIL import Image, PngImagePlugin

Random = np.random.Generator


def whole_images(seed: int = 0) -> list[tuple[str, bytes]]:
    """Small images in many formats and modes, none of them broken."""
    rng = np.random.default_rng(seed)
    smooth = np.linspace(0, 255, 48 * 40 * 3).reshape(48, 40, 3)
    pixels = (smooth + rng.normal(0, 25, size=smooth.shape)).clip(0, 255).astype(np.uint8)
    rgb = Image.fromarray(pixels)
    grey16 = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    makers: list[tuple[str, Image.Image, str, dict]] = [
        ("jpeg", rgb, "JPEG", {"quality": 90}),
        ("jpeg progressive", rgb, "JPEG", {"progressive": True}),
        ("jpeg grey", rgb.convert("L"), "JPEG", {}),
        ("jpeg cmyk", rgb.convert("CMYK"), "JPEG", {}),
        ("jpeg exif", rgb, "JPEG", {"exif": turned}),
        ("png", rgb, "PNG", {}),
        ("png palette", rgb.convert("P"), "PNG", {"transparency": 3}),
        ("png rgba", rgb.convert("RGBA"), "PNG", {}),
        ("png 16", grey16, "PNG", {}),
        ("png 1", rgb.convert("1"), "PNG", {}),
        ("webp", rgb, "WEBP", {}),
        ("webp lossless", rgb.convert("RGBA"), "WEBP", {"lossless": True}),
        ("webp animated", rgb, "WEBP", {"save_all": True, "append_images": [rgb.rotate(90)]}),
        ("tiff", rgb, "TIFF", {}),
        ("tiff lzw", rgb, "TIFF", {"compression": "tiff_lzw"}),
        ("tiff deflate", rgb, "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("tiff jpeg", rgb, "TIFF", {"compression": "jpeg"}),
        ("tiff g4", rgb.convert("1"), "TIFF", {"compression": "group4"}),
        ("tiff 16", grey16, "TIFF", {}),
        ("bmp", rgb, "BMP", {}),
        ("bmp palette", rgb.convert("P"), "BMP", {}),
        ("gif", rgb.convert("P"), "GIF", {}),
        ("gif animated", rgb, "GIF", {"save_all": True, "append_images": [rgb.rotate(90)]}),
    ]
    found = []
    for name, image, form, options in makers:
        stored = io.BytesIO()
        image.save(stored, form, **options)
        found.append((name, stored.getvalue()))
    return found


def truncated(content: bytes, rng: Random) -> bytes:
    return content[: int(rng.integers(0, len(content)))]


def flipped(content: bytes, rng: Random) -> bytes:
    """Single bits turned over, anywhere."""
    broken = bytearray(content)
    for _ in range(int(rng.integers(1, 24))):
        broken[rng.integers(len(broken))] ^= 1 << int(rng.integers(8))
    return bytes(broken)


def wrong_header(content: bytes, rng: Random) -> bytes:
    """Bytes of the first 64 replaced, often by extremes: sizes, offsets, lengths."""
    broken = bytearray(content)
    extremes = (0x00, 0xFF, 0x7F, 0x80)
    for _ in range(int(rng.integers(1, 8))):
        place = int(rng.integers(min(64, len(broken))))
        for k in range(place, min(place + int(rng.integers(1, 5)), len(broken))):
            broken[k] = int(rng.choice(extremes)) if rng.random() < 0.7 else int(rng.integers(256))
    return bytes(broken)


def other_magic(content: bytes, rng: Random) -> bytes:
    """Another format's first bytes before this one's rest."""
    magics = (
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x10\x00\x00\x00WEBPVP8 ",
        b"II*\0\x08\0\0\0",
        b"MM\0+\0\x08\0\0",
        b"BM",
        b"GIF89a",
    )
    magic = magics[int(rng.integers(len(magics)))]
    return magic + content[len(magic) :]


def spliced(content: bytes, rng: Random) -> bytes:
    """A part left out, doubled, or filled with noise."""
    a, b = sorted(int(one) for one in rng.integers(0, len(content), size=2))
    middle = (b"", 2 * content[a:b], rng.bytes(b - a))[int(rng.integers(3))]
    return content[:a] + middle + content[b:]


def mended_png(content: bytes, rng: Random) -> bytes:
    """A PNG whose header is wrong and whose checksums are right, so that it is taken seriously."""
    if not content.startswith(b"\x89PNG"):
        return wrong_header(content, rng)
    width, height = (int(rng.choice([0, 1, 40, 48, 5_000, 2**31 - 1])) for _ in range(2))
    depth, colour = int(rng.choice([0, 1, 2, 4, 8, 16, 32])), int(rng.integers(8))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(rng.integers(3)))
    return content[:8] + _chunk(b"IHDR", header) + content[33:]


BREAKS: dict[str, Callable[[bytes, Random], bytes]] = {
    "truncated": truncated,
    "flipped": flipped,
    "wrong header": wrong_header,
    "other magic": other_magic,
    "spliced": spliced,
    "mended header": mended_png,
}


def broken_images(n: int, *, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """(kind, content) of n files; one in fifty is a bomb."""
    rng = np.random.default_rng(seed)
    whole, explosive, kinds = whole_images(seed), bombs(), list(BREAKS)
    for k in range(n):
        if k % 50 == 49:
            name, content = explosive[int(rng.integers(len(explosive)))]
            yield f"bomb: {name}", content
            continue
        name, content = whole[int(rng.integers(len(whole)))]
        kind = kinds[int(rng.integers(len(kinds)))]
        yield f"{kind}: {name}", BREAKS[kind](content, rng)


@cache
def bombs() -> list[tuple[str, bytes]]:
    """Files that state or unpack to far more than they are."""
    return [
        ("png of 50,000 x 50,000", _png(50_000, 50_000, b"")),
        ("png of 7,000 x 7,000, all zero", _png(7_000, 7_000, bytes(7_001) * 7_000, colour=0)),
        ("png of 7,000 x 7,000 that ends early", _png(7_000, 7_000, bytes(70_000), colour=0)),
        ("png with a text that unpacks to 200 MB", _png_with_text(200_000_000)),
        ("png with a profile that unpacks to 200 MB", _png_with_profile(200_000_000)),
        ("gif of 65,535 x 65,535", _gif(65_535, 65_535)),
        ("bmp of 40,000 x 40,000", _bmp(40_000, 40_000)),
        ("bmp of 6,000 x 6,000 without data", _bmp(6_000, 6_000)),
        ("webp of 16,384 x 16,384", _webp(16_383, 16_383)),
        ("jpeg of 65,500 x 65,500", _jpeg(65_500, 65_500)),
        ("jpeg of 6,900 x 6,900 without data", _jpeg(6_900, 6_900)),
        ("jpeg of 6,900 x 6,900 in 20,000 scans", _many_scans(20_000)),
        ("tiff with tiles of 60,000 x 60,000", _tiff(64, 64, tile=60_000)),
        ("tiff of 60,000 x 60,000", _tiff(60_000, 60_000)),
        ("tiff whose directory leads to itself", _tiff(64, 64, loop=True)),
        ("tiff with a million strips stated", _tiff(64, 64, strips=1_000_000)),
    ]


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def _png(width: int, height: int, rows: bytes, *, colour: int = 2, more: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + more
        + _chunk(b"IDAT", zlib.compress(rows, 9))
        + _chunk(b"IEND", b"")
    )


def _png_with_text(size: int) -> bytes:
    told = PngImagePlugin.PngInfo()
    packed = zlib.compress(bytes(size), 9)
    told.add(b"zTXt", b"Comment\0\0" + packed)
    stored = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stored, "PNG", pnginfo=told)
    return stored.getvalue()


def _png_with_profile(size: int) -> bytes:
    profile = _chunk(b"iCCP", b"any\0\0" + zlib.compress(bytes(size), 9))
    return _png(8, 8, bytes(25) * 8, more=profile)


def _gif(width: int, height: int) -> bytes:
    stored = io.BytesIO()
    Image.new("P", (8, 8)).save(stored, "GIF")
    content = bytearray(stored.getvalue())
    content[6:10] = struct.pack("<HH", width, height)
    place = content.index(b"\x2c\0\0\0\0")  # the descriptor of the first frame
    content[place + 5 : place + 9] = struct.pack("<HH", width, height)
    return bytes(content)


def _bmp(width: int, height: int) -> bytes:
    stored = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stored, "BMP")
    content = bytearray(stored.getvalue())
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


def _webp(width: int, height: int) -> bytes:
    stored = io.BytesIO()
    Image.new("RGBA", (8, 8), (1, 2, 3, 4)).save(stored, "WEBP", lossless=True)
    content = bytearray(stored.getvalue())
    place = content.index(b"VP8L") + 9  # behind the length and the signature
    bits = (
        (width - 1)
        | (height - 1) << 14
        | int.from_bytes(content[place : place + 4], "little") & (0xF << 28)
    )
    content[place : place + 4] = bits.to_bytes(4, "little")
    return bytes(content)


def _jpeg(width: int, height: int, **options: bool) -> bytes:
    stored = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stored, "JPEG", **options)
    content = bytearray(stored.getvalue())
    frame = content.index(b"\xff\xc2" if options else b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def _many_scans(scans: int) -> bytes:
    content = _jpeg(6_900, 6_900, progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + scans * content[last:-2] + content[-2:]


def _tiff(width: int, height: int, *, tile: int = 0, loop: bool = False, strips: int = 1) -> bytes:
    """A little-endian TIFF of 8-bit grey, deflated, by hand."""
    packed = zlib.compress(bytes(4_096), 9)
    first = 8 + len(packed) + len(packed) % 2
    long, short = 4, 3
    entries = [
        (256, long, 1, width),
        (257, long, 1, height),
        (258, short, 1, 8),
        (259, short, 1, 8),
        (262, short, 1, 1),
        (277, short, 1, 1),
    ]
    if tile:
        entries += [(322, long, 1, tile), (323, long, 1, tile)]
        entries += [(324, long, 1, 8), (325, long, 1, len(packed))]
    else:
        entries += [
            (273, long, strips, 8),
            (278, long, 1, height),
            (279, long, strips, len(packed)),
        ]
    directory = struct.pack("<H", len(entries))
    for entry in sorted(entries):
        directory += struct.pack("<HHII", *entry)
    directory += struct.pack("<I", first if loop else 0)
    start = b"II*\0" + struct.pack("<I", first) + packed
    return start + bytes(first - len(start)) + directory
