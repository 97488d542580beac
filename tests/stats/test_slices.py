"""Slices: none is named by chance beyond the level, a planted one is, classes do not mislead."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from everyclass.errors import InputError
from everyclass.slices import SliceFindings
from everyclass.stats.slices import Numbers, find_slices

CLASSES = ("a", "b", "c", "d")
RECALLS = np.array([0.9, 0.75, 0.5, 0.8])


def words(low: float | None, high: float | None) -> str:
    return f"x in [{low}, {high})"


def brightness(values: np.ndarray) -> Numbers:
    return Numbers(attribute="brightness", values=values, digits=2, words=words)


def side(values: np.ndarray) -> Numbers:
    return Numbers(attribute="shorter side", values=values, digits=0, words=words)


def drawn(rng: np.random.Generator, n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right or wrong by class alone; the hard class is also the brightest."""
    labels = rng.choice(4, n, p=(0.4, 0.3, 0.2, 0.1))
    greys = rng.normal(0.3 + 0.1 * labels, 0.1).clip(0, 1)
    return rng.random(n) < RECALLS[labels], labels, greys


def test_without_an_effect_hardly_ever_is_a_slice_named() -> None:
    """Simulation: at level 0.05, 400 sets. A binomial of 5 % stays below 33 in 99.7 %."""
    rng = np.random.default_rng(0)
    named = 0
    for _ in range(400):
        correct, labels, greys = drawn(rng, 300)
        sides = rng.integers(100, 900, labels.size).astype(float)
        found = find_slices(
            correct, labels, classes=CLASSES, numbers=(brightness(greys), side(sides))
        )
        named += bool(found.shown)
    assert named <= 32


def test_a_planted_slice_is_found_and_others_are_not_named() -> None:
    rng = np.random.default_rng(1)
    found_it = others = 0
    for _ in range(50):
        correct, labels, greys = drawn(rng)
        dark = greys < np.quantile(greys, 0.25)
        correct &= ~(dark & (rng.random(labels.size) < 0.35))
        sides = rng.integers(100, 900, labels.size).astype(float)
        found = find_slices(
            correct, labels, classes=CLASSES, numbers=(brightness(greys), side(sides))
        )
        others += any(one.attribute == "shorter side" for one in found.shown)
        found_it += any(one.low is None and one.class_name is None for one in found.shown)
    assert found_it >= 45
    assert others <= 7  # at most 5 % of 50 are expected: above 7 in less than 1 %


def test_a_hard_class_does_not_make_a_bad_slice() -> None:
    """The brightest quarter is mostly the class of recall 0.5: without classes it looks bad."""
    rng = np.random.default_rng(2)
    correct, labels, greys = drawn(rng, 4_000)
    alone = find_slices(
        correct, np.zeros_like(labels), classes=("all",), numbers=(brightness(greys),)
    )
    assert any(one.high is None for one in alone.shown)
    by_class = find_slices(correct, labels, classes=CLASSES, numbers=(brightness(greys),))
    assert by_class.shown == ()


def test_images_of_one_group_are_not_taken_as_independent() -> None:
    """Simulation: groups differ in light and in how hard they are, but not together. 30 groups of
    some ten images; the test of independent images names too often, that by group does not."""
    rng = np.random.default_rng(3)
    named = {True: 0, False: 0}
    for _ in range(150):
        group = rng.integers(0, 30, 300)
        hard, light = rng.normal(0, 0.25, 30), rng.normal(0.5, 0.15, 30)
        labels = rng.choice(2, 300)
        correct = rng.random(300) < np.clip(0.7 + hard[group], 0, 1)
        greys = (light[group] + rng.normal(0, 0.02, 300)).clip(0, 1)
        names = [f"g{k}" for k in group]
        for grouped in named:
            found = find_slices(
                correct,
                labels,
                classes=("a", "b"),
                numbers=(brightness(greys),),
                groups=names if grouped else None,
            )
            named[grouped] += any(one.attribute == "brightness" for one in found.shown)
            assert found.by_group is grouped
    assert named[True] <= 0.1 * 150
    assert named[False] > 0.2 * 150


def test_intervals_are_wider_where_groups_are_alike() -> None:
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(20), 10)
    correct = np.repeat(rng.random(20) < 0.7, 10)  # a group is all right or all wrong
    labels = np.zeros(200, dtype=int)
    greys = rng.random(200)
    plain = find_slices(correct, labels, classes=("a",), numbers=(brightness(greys),))
    grouped = find_slices(
        correct,
        labels,
        classes=("a",),
        numbers=(brightness(greys),),
        groups=[f"g{k}" for k in group],
    )
    widths = {}
    for name, found in (("plain", plain), ("grouped", grouped)):
        first = next(one for one in found.slices if one.low is None)
        widths[name] = first.recall_ci95[1] - first.recall_ci95[0]
    assert widths["grouped"] > 1.3 * widths["plain"]


def test_a_bad_group_is_named_with_its_figures() -> None:
    # Of 40 images of class a elsewhere 36 are right, of the group's 20 only 8.
    correct = np.array([True] * 36 + [False] * 4 + [True] * 8 + [False] * 12)
    groups = [f"p{k}" for k in range(40)] + ["p-bad"] * 20
    found = find_slices(correct, np.zeros(60, dtype=int), classes=("a", "b"), groups=groups)
    (worst,) = found.shown
    assert (worst.attribute, worst.value, worst.n, worst.right) == ("group", "p-bad", 20, 8)
    assert worst.elsewhere == pytest.approx(0.9)
    assert worst.sentence == (
        "images of group 'p-bad': recall 0.40 (0.22 to 0.61, n = 20) against 0.90 elsewhere at the "
        "same classes"
    )
    assert found.notes == ("40 groups have fewer than 20 images here",)


def test_the_rest_is_weighted_as_the_slice_is() -> None:
    # In the slice 20 of a and 10 of b; elsewhere a is right in 30 of 40, b in 5 of 20:
    # (20 x 0.75 + 10 x 0.25) / 30 = 0.5833.
    labels = np.array([0] * 20 + [1] * 10 + [0] * 40 + [1] * 20)
    correct = np.concatenate([np.arange(30) % 2 == 0, np.arange(40) < 30, np.arange(20) < 5])
    groups = ["slice"] * 30 + [None] * 60
    by_group = find_slices(correct, labels, classes=("a", "b"), groups=[*groups])
    assert by_group.looked_at == 3  # the others are in no group: they are elsewhere all the same
    values = np.array([1.0] * 30 + [2.0] * 60)
    found = find_slices(correct, labels, classes=("a", "b"), numbers=(side(values),))
    mine = next(one for one in found.slices if one.value == "1" and one.class_name is None)
    assert (mine.n, mine.right, mine.elsewhere_n) == (30, 15, 60)
    assert mine.elsewhere == pytest.approx(0.58333, abs=1e-5)
    assert found.nothing.startswith("No slice is shown to be worse (6 looked at). Nearest to it: ")


def test_what_cannot_be_looked_at_is_said() -> None:
    labels = np.zeros(50, dtype=int)
    same = find_slices(
        np.ones(50, dtype=bool), labels, classes=("a",), numbers=(side(np.full(50, 150.0)),)
    )
    assert same.notes == ("the shorter side is the same of all images",)
    assert same.nothing == (
        "No slice could be looked at: the shorter side is the same of all images."
    )
    few = find_slices(
        np.ones(9, dtype=bool), labels[:9], classes=("a",), numbers=(brightness(np.arange(9) / 9),)
    )
    assert few.notes == ("no slice has 20 images and as many to compare them with",)
    with pytest.raises(InputError, match="different lengths"):
        find_slices([True], labels, classes=("a",))


def test_the_order_of_classes_and_images_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    correct, labels, greys = drawn(rng)
    first = find_slices(correct, labels, classes=CLASSES, numbers=(brightness(greys),))
    order, renamed = rng.permutation(labels.size), np.array([2, 0, 3, 1])
    names = [CLASSES[int(np.flatnonzero(renamed == k)[0])] for k in range(4)]
    again = find_slices(
        correct[order], renamed[labels[order]], classes=names, numbers=(brightness(greys[order]),)
    )
    for one, other in zip(first.slices, again.slices):
        assert one.name == other.name
        assert one.p == pytest.approx(other.p)
        assert one.difference_interval == pytest.approx(other.difference_interval)


def test_the_value_survives_json_and_refuses_what_is_wrong() -> None:
    rng = np.random.default_rng(6)
    correct, labels, greys = drawn(rng)
    found = find_slices(correct, labels, classes=CLASSES, numbers=(brightness(greys),))
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert SliceFindings.from_dict(values) == found
    del values["slices"][0]["recall"]
    with pytest.raises(InputError, match=r"e\.json: 'recall' is missing"):
        SliceFindings.from_dict(values, where="e.json")
    with pytest.raises(InputError, match="outside"):
        replace(found.slices[0], recall=1.5)
