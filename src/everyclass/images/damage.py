"""What decoders raise on damaged files, how to say it in plain words, and what we raise then."""

from __future__ import annotations

import struct
import zlib

from PIL import Image, ImageCms

from everyclass.errors import EveryclassError

# What Pillow and simplejpeg raise on damaged files, as found by damaging them
# (tests/images/test_pixels.py), and its documented neighbours. Warning: where the user has made
# Python's warnings errors.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    NotImplementedError,
    MemoryError,
    AssertionError,
    Warning,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    ImageCms.PyCMSError,
)
_TRUNCATED = ("truncated", "premature end of jpeg", "requires a buffer of")  # the last: struct


class UnreadableImage(EveryclassError):
    """A file that does not hold an image that can be read.

    Args:
        reason: in plain words, with the decoder's own reason where there is one.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def describe_damage(image_format: str, error: BaseException) -> str:
    """The reason for a file of this format on which the decoder raised this error."""
    truncated = any(text in str(error).lower() for text in _TRUNCATED)
    return f"{'truncated' if truncated else 'damaged'} {image_format}: {_words(error)}"


def _words(error: BaseException) -> str:
    """The decoder's own reason, or plain words where it says nothing that can be understood."""
    words = " ".join(str(error).split())
    if isinstance(error, Image.DecompressionBombError):  # WebP frames are checked by Pillow
        return words.removesuffix(", could be decompression bomb DOS attack.")
    if isinstance(error, MemoryError):
        return "not enough memory for the size it states"
    if words.startswith("decoder error"):
        return f"its data do not decode ({words})"
    if words == "Truncated File Read" or "requires a buffer of" in words:
        return "the file ends within its header"
    # Pillow wraps a KeyError or IndexError of its header reader: nothing but the key is left.
    if words == "not identified by this driver" or not any(c.isalpha() for c in words):
        return "its header makes no sense"
    return words
