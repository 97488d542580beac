"""JSON text: what json reads back, with rows of numbers on a line."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everyclass.json_writer import json_text

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    plain.filter(lambda one: not isinstance(one, float) or math.isfinite(one)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=200, deadline=None)
@given(values, st.booleans())
def test_json_reads_back_what_was_written(value: object, ascii_only: bool) -> None:
    text = json_text(value, ascii_only=ascii_only)
    assert json.loads(text) == value
    assert text.isascii() or not ascii_only


def test_only_rows_of_numbers_are_on_one_line() -> None:
    matrix = {"confusion": [[5, 0], [1, 4]], "classes": ["a", "b"], "none": [], "ci": (0.5, None)}
    assert json_text(matrix).splitlines() == [
        "{",
        '  "confusion": [',
        "    [5, 0],",
        "    [1, 4]",
        "  ],",
        '  "classes": [',
        '    "a",',
        '    "b"',
        "  ],",
        '  "none": [],',
        '  "ci": [0.5, null]',
        "}",
    ]
    assert json.loads(json_text({1: 2, None: 3})) == json.loads(json.dumps({1: 2, None: 3}))


@pytest.mark.parametrize("value", [math.nan, [1.0, math.inf], {"a": [[math.nan]]}])
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text(value)
