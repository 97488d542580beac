"""ImageTable: hand-made tables small enough to check by eye."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from everyclass.images.table import SCHEMA, SPLITS, ImageTable, SetAside


@pytest.fixture
def table() -> ImageTable:
    return ImageTable.from_lists(
        ["/d/a.png", "/d/b.png", "/d/c.png", "/else/d.png"],
        [1, None, 0, 1],
        classes=("cat", "dog"),
        groups=["p2", None, "p1", "p2"],
        splits=["val", None, "train", "test"],
        source="d",
        root="/d/",
    )


def test_columns_have_one_schema_whatever_strings_come_in() -> None:
    columns = pa.table(
        {
            "image": pa.chunked_array([["a"], ["b"]]),
            "label": pa.array([0, None], pa.int64()),
            "group": pa.array(["g", None]),
            "split": pa.chunked_array([["val"], ["train"]]).dictionary_encode(),
        }
    )
    table = ImageTable(columns=columns, classes=("x",), source="")
    assert table.columns.schema == SCHEMA
    assert [table.columns[name].num_chunks for name in SCHEMA.names] == [1, 1, 1, 1]
    assert table.split_codes().tolist() == [1, 0]


def test_views(table: ImageTable) -> None:
    assert len(table) == 4
    assert table.labels().tolist() == [1, -1, 0, 1]
    assert table.labels().dtype == np.int64
    assert table.splits().tolist() == ["val", "", "train", "test"]
    assert table.split_codes().tolist() == [1, -1, 0, 2]
    assert table.groups().tolist() == ["p2", None, "p1", "p2"]
    assert table.group_codes().tolist() == [0, -1, 1, 0]
    assert table.image(2) == "/d/c.png"
    assert list(table.images) == ["/d/a.png", "/d/b.png", "/d/c.png", "/else/d.png"]
    assert list(table.images[1:3]) == ["/d/b.png", "/d/c.png"]
    assert table.images[-1] == "/else/d.png"


def test_keys_leave_the_root_out_and_keep_other_paths_whole(table: ImageTable) -> None:
    assert table.keys().to_pylist() == ["a.png", "b.png", "c.png", "/else/d.png"]


def test_keys_count_letters_not_bytes() -> None:
    table = ImageTable.from_lists(["bücher/ä.png"], root="bücher/")
    assert table.keys().to_pylist() == ["ä.png"]


def test_counts(table: ImageTable) -> None:
    assert table.counts().tolist() == [1, 2]
    assert table.counts("val").tolist() == [0, 1]
    assert table.counts("train").tolist() == [1, 0]
    assert [table.has_split(name) for name in SPLITS] == [True, True, True]
    assert not table.of_split("train").has_split("val")


def test_take_and_of_split(table: ImageTable) -> None:
    assert list(table.take([3, 0]).images) == ["/else/d.png", "/d/a.png"]
    assert list(table.of_split("val").images) == ["/d/a.png"]
    assert len(table.take([])) == 0
    assert table.take([]).classes == ("cat", "dog")


def test_with_split_replaces_only_the_split(table: ImageTable) -> None:
    changed = table.with_split(["test", "", None, "val"])
    assert changed.splits().tolist() == ["test", "", "", "val"]
    assert changed.labels().tolist() == table.labels().tolist()
    assert changed.with_split(table.splits()).fingerprint() == table.fingerprint()


def test_without_moves_rows_aside_with_their_reasons(table: ImageTable) -> None:
    left = table.without([3, 1], ["blank", "no such file"])
    assert list(left.images) == ["/d/a.png", "/d/c.png"]
    assert left.set_aside == (
        SetAside(image="/else/d.png", label="dog", reason="blank"),
        SetAside(image="/d/b.png", label=None, reason="no such file"),
    )
    assert len(left.without([0], ["blank"]).set_aside) == 3


def test_an_empty_table_has_empty_views() -> None:
    table = ImageTable.from_lists([])
    assert table.labels().shape == table.splits().shape == table.groups().shape == (0,)
    assert table.keys().to_pylist() == list(table.images) == []
    assert table.counts().shape == (0,)
    assert len(table.fingerprint()) == 64


def test_fingerprint_is_the_same_in_a_moved_folder() -> None:
    here = ImageTable.from_lists(["/here/a.png"], [0], classes=("x",), root="/here/")
    there = ImageTable.from_lists(["/there/a.png"], [0], classes=("x",), root="/there/")
    assert here.fingerprint() == there.fingerprint()


@pytest.mark.parametrize(
    "changed",
    [
        {"images": ["b", "a"]},
        {"labels": [1, 1]},
        {"labels": [0, None]},
        {"classes": ("x", "z")},
        {"groups": ["g", ""]},
        {"groups": [None, "g"]},
        {"splits": ["train", None]},
        {"images": ["ab", ""]},
    ],
)
def test_fingerprint_changes_with_everything_that_matters(changed: dict[str, list[str]]) -> None:
    facts = {
        "images": ["a", "b"],
        "labels": [0, 1],
        "classes": ("x", "y"),
        "groups": ["g", None],
        "splits": ["train", "val"],
    }
    before = ImageTable.from_lists(**facts)  # type: ignore[arg-type]
    after = ImageTable.from_lists(**{**facts, **changed})  # type: ignore[arg-type]
    assert before.fingerprint() != after.fingerprint()


def test_fingerprint_is_fixed_for_all_time() -> None:
    # Golden: run folders hold this value; a change breaks every --resume.
    table = ImageTable.from_lists(
        ["r/a.png", "r/é.png"],
        [1, None],
        classes=("x", "y"),
        groups=[None, "g"],
        splits=["train", None],
        root="r/",
    )
    expected = "4886709b77fc5a401c0c58ad8539d9ebe08b6a8f5f05eb5c9c77a232389ccc00"
    assert table.fingerprint() == expected


def test_our_own_mistakes_are_caught() -> None:
    with pytest.raises(AssertionError, match="beyond the classes"):
        ImageTable.from_lists(["a"], [1], classes=("x",))
    with pytest.raises(AssertionError, match="not train, val or test"):
        ImageTable.from_lists(["a"], splits=["fold0"])
