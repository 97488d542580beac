"""Folds: property tests for what the module promises, hand-made cases for the fix-up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everyclass.errors import InputError
from everyclass.images.folds import LEFT_OUT, NEVER_JUDGED, Folds, assign_folds
from everyclass.images.table import ImageTable
from everyclass.seeding import stream_seed

CLASSES = ("ash", "birch", "cedar")

Row = tuple[str, int, str | None]
"""Image, label, group."""


def folds_of(
    rows: Sequence[Row], n_folds: int, *, seed: int = 0, splits: Sequence[str] | None = None
) -> Folds:
    table = ImageTable.from_lists(
        [f"cells/{image}" for image, _, _ in rows],
        [label for _, label, _ in rows],
        classes=CLASSES,
        groups=[group for _, _, group in rows],
        splits=splits,
        root="cells/",
        source="cells",
    )
    return assign_folds(table, n_folds=n_folds, seed=seed)


def units_of_classes(rows: Sequence[Row]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    for image, label, group in rows:
        found[label].add(image if group is None else f"group {group}")
    return found


@st.composite
def lone_rows(draw: st.DrawFn) -> list[Row]:
    names = draw(st.lists(st.text("abc", min_size=1, max_size=4), min_size=12, unique=True))
    return [(name, draw(st.integers(0, 2)), None) for name in names]


@st.composite
def grouped_rows(draw: st.DrawFn) -> list[Row]:
    """Groups of any classes, beside images in none."""
    group = st.none() | st.sampled_from(["p", "q", "r", "s", "t", "u", "v", "w"])
    return [(name, label, draw(group)) for name, label, _ in draw(lone_rows())]


def divided(rows: Sequence[Row], n_folds: int, seed: int) -> Folds | None:
    """None where too few groups fill the folds, which is refused."""
    try:
        return folds_of(rows, n_folds, seed=seed)
    except InputError as error:
        if "fill" not in str(error):
            raise
        return None


@settings(deadline=None)
@given(grouped_rows(), st.integers(2, 5), st.integers(0, 3))
def test_each_row_is_in_one_fold_and_a_group_never_straddles(
    rows: list[Row], n_folds: int, seed: int
) -> None:
    found = divided(rows, n_folds, seed)
    if found is None:
        return
    assert len(found.of_row) == len(rows)
    judged = found.of_row[found.of_row >= 0]
    assert set(judged.tolist()) == set(range(n_folds))
    assert set(found.of_row.tolist()) <= {NEVER_JUDGED, *range(n_folds)}
    of_group = defaultdict(set)
    for (_, _, group), fold in zip(rows, found.of_row.tolist()):
        if group is not None:
            of_group[group].add(fold)
    assert all(len(folds) == 1 for folds in of_group.values())
    # Whoever judges a fold has seen each of its classes elsewhere.
    for label in range(len(CLASSES)):
        folds = {f for (_, own, _), f in zip(rows, found.of_row.tolist()) if own == label}
        assert len(folds) != 1 or folds == {NEVER_JUDGED}


@settings(deadline=None)
@given(lone_rows(), st.integers(2, 5), st.integers(0, 3))
def test_a_class_is_in_as_many_folds_as_it_can_be(rows: list[Row], n_folds: int, seed: int) -> None:
    found = divided(rows, n_folds, seed)
    if found is None:
        return
    for label, units in units_of_classes(rows).items():
        folds = {f for (_, own, _), f in zip(rows, found.of_row.tolist()) if own == label}
        if len(units) == 1:
            assert folds == {NEVER_JUDGED}
        else:
            assert len(folds) == min(len(units), n_folds)


@settings(deadline=None)
@given(lone_rows(), st.integers(2, 5), st.randoms(use_true_random=False))
def test_the_order_of_rows_plays_no_part(rows: list[Row], n_folds: int, random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = divided(rows, n_folds, 0), divided(shuffled, n_folds, 0)
    if first is None or second is None:
        assert first is second
        return
    by_name = dict(zip((row[0] for row in rows), first.of_row.tolist()))
    assert by_name == dict(zip((row[0] for row in shuffled), second.of_row.tolist()))


def test_adding_images_moves_none_of_a_class_that_needs_no_fix_up() -> None:
    rows = [(f"{k:03d}", k % 3, None) for k in range(240)]
    before = folds_of(rows[:180], 5).of_row
    for label in range(3):
        natural = {
            stream_seed(0, "folds", "image", rows[k][0]) * 5 >> 63 for k in range(label, 180, 3)
        }
        assert natural == set(range(5))  # else the fix-up had something to do
    after = folds_of(rows, 5).of_row
    assert after[:180].tolist() == before.tolist()
    assert np.abs(np.bincount(after) - 48).max() < 20  # 240 in 5: a standard deviation of 6.2


def test_classes_of_few_units_are_spread_and_the_rest_is_said() -> None:
    rows: list[Row] = [(f"{k:03d}", 0, None) for k in range(100)]
    rows += [("b0", 1, None), ("b1", 1, None), ("b2", 1, None), ("c0", 2, None)]
    found = folds_of(rows, 5)
    birch = found.of_row[100:103].tolist()
    assert len(set(birch)) == 3
    assert found.of_row[103] == NEVER_JUDGED
    told = " ".join(found.sentences)
    assert "Trained on in every fold and judged in none: 'cedar'" in told
    assert "In fewer than 5 folds, for want of images or groups: 'birch'" in told


def test_the_tables_own_test_split_is_left_alone() -> None:
    rows = [(f"{k:03d}", k % 3, None) for k in range(90)]
    splits = ["test" if k < 30 else "val" if k < 60 else "train" for k in range(90)]
    found = folds_of(rows, 3, splits=splits)
    assert (found.of_row[:30] == LEFT_OUT).all()
    assert (found.of_row[30:] >= 0).all()
    assert found.sentences == ("30 images of the data set's own test split are left alone.",)


def test_copies_of_a_file_stay_together() -> None:
    rows = [(f"{k:03d}", 0, None) for k in range(60)]
    contents = np.zeros((60, 16), dtype=np.uint8)
    contents[:, 0] = np.arange(60) // 2 + 1  # 30 files, each twice
    table = ImageTable.from_lists([name for name, _, _ in rows], [0] * 60, classes=CLASSES)
    found = assign_folds(table, n_folds=5, seed=0, contents=contents).of_row
    assert (found[0::2] == found[1::2]).all()


def test_too_few_groups_and_too_few_folds_are_refused() -> None:
    rows: list[Row] = [(f"{k:03d}", k % 3, f"p{k % 2}") for k in range(30)]
    with pytest.raises(InputError, match="cells has 2 images or groups that can be told apart"):
        folds_of(rows, 5)
    with pytest.raises(InputError, match="1 folds were asked for"):
        folds_of(rows, 1)
