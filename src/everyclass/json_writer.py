"""JSON that people can read and that is written fast.

Comes in: dicts, lists and plain values. Goes out: text. A list of numbers is one line: a confusion
matrix reads as a matrix, and that of 5,000 classes is written by row instead of in 25 million
lines, which takes a minute.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

_NUMBERS = {int, float, bool, type(None)}


def json_text(value: Any, *, ascii_only: bool = False) -> str:
    """Indented JSON with a newline at its end.

    Args:
        value: as `json.dumps` takes it.
        ascii_only: write other letters as escapes.
    Raises:
        ValueError: NaN or infinity, which are no JSON and which other readers choke on.
    Example:
        >>> print(json_text({"rows": [[1, 2], [3, 4]]}), end="")
        {
          "rows": [
            [1, 2],
            [3, 4]
          ]
        }
    """
    encode = json.JSONEncoder(ensure_ascii=ascii_only, allow_nan=False).encode
    return _text(value, "", encode) + "\n"


def _text(value: Any, indent: str, encode: Callable[[Any], str]) -> str:
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        lines = [
            f"{deeper}{encode(key if isinstance(key, str) else encode(key))}: "
            + _text(one, deeper, encode)
            for key, one in value.items()
        ]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, (list, tuple)) and not set(map(type, value)) <= _NUMBERS:
        lines = [deeper + _text(one, deeper, encode) for one in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    return encode(value)
