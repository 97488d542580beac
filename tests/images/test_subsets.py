"""Subsets of the training images: nested, stratified, groups whole, the rest untouched."""

from __future__ import annotations

import numpy as np
import pytest

from everyclass.images.subsets import nested_subset, one_class_subset
from everyclass.images.table import ImageTable


def table(*, groups: bool = False) -> ImageTable:
    labels = [0] * 80 + [1] * 40 + [2] * 8
    n = len(labels)
    splits = ["train" if k % 4 else "test" for k in range(n)]
    return ImageTable.from_lists(
        [f"{k}.png" for k in range(n)],
        labels,
        classes=("a", "b", "c"),
        groups=[f"g{k // 4}" for k in range(n)] if groups else None,
        splits=splits,
    )


@pytest.mark.parametrize("groups", [False, True])
def test_smaller_shares_are_parts_of_larger_ones(groups: bool) -> None:
    whole = table(groups=groups)
    kept = {share: nested_subset(whole, share=share, seed=1) for share in (0.25, 0.5, 1.0)}
    assert set(kept[0.25]) < set(kept[0.5]) < set(kept[1.0])
    assert kept[1.0].tolist() == list(range(len(whole)))
    for share, rows in kept.items():
        part = whole.take(rows)
        # 60, 30 and 6 training images; groups have three of them each.
        assert np.all(np.abs(part.counts("train") - share * whole.counts("train")) <= 1.5)
        assert part.counts("test").tolist() == whole.counts("test").tolist()


def test_groups_stay_whole() -> None:
    whole = table(groups=True)
    part = whole.take(nested_subset(whole, share=0.5, seed=0))
    train = part.of_split("train")
    _, sizes = np.unique(train.group_codes(), return_counts=True)
    assert set(sizes.tolist()) == {3}


def test_another_seed_is_another_subset_and_other_rows_change_nothing() -> None:
    whole = table()
    rows = nested_subset(whole, share=0.5, seed=0)
    assert set(rows) != set(nested_subset(whole, share=0.5, seed=1))
    without_c = whole.take(np.flatnonzero(whole.labels() != 2))
    again = without_c.take(nested_subset(without_c, share=0.5, seed=0))
    kept = {whole.image(int(row)) for row in rows if whole.labels()[row] != 2}
    assert {again.image(k) for k in range(len(again))} == kept


def test_one_class_is_halved_and_the_others_stay() -> None:
    whole = table(groups=True)
    part = whole.take(one_class_subset(whole, label=1, share=0.5, seed=0))
    assert part.counts("train").tolist() == [60, 15, 6]
    assert part.counts("test").tolist() == whole.counts("test").tolist()


def test_of_a_mixed_group_only_the_class_goes() -> None:
    mixed = ImageTable.from_lists(
        [f"{k}.png" for k in range(16)],
        [0, 1] * 8,
        classes=("a", "b"),
        groups=[f"g{k // 4}" for k in range(16)],
        splits=["train"] * 16,
    )
    part = mixed.take(one_class_subset(mixed, label=1, share=0.5, seed=0))
    assert part.counts("train").tolist() == [8, 4]


def test_a_class_keeps_an_image() -> None:
    part = table().take(nested_subset(table(), share=0.01, seed=0))
    assert part.counts("train").tolist() == [1, 1, 1]
