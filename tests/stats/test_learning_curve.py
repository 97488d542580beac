"""Learning curves: coverage of the intervals where the truth is known, ranking, what is said."""

from __future__ import annotations

import json
from statistics import NormalDist

import numpy as np
import pytest

from everyclass.errors import InputError
from everyclass.stats.learning_curve import Gain, Halved, LearningCurve, learning_curve

LAWS = ((0.10, 1.5, 0.3), (0.05, 3.0, 0.5), (0.20, 0.8, 0.25))
WHOLE = np.array([120, 300, 400])
SHARES = (0.25, 0.5, 1.0)
COUNTS = np.array([[int(share * n) for n in WHOLE] for share in SHARES])
QUANTILE = np.vectorize(NormalDist().inv_cdf)


def errors_of(counts: np.ndarray) -> np.ndarray:
    return np.array([[a + b * n**-c for (a, b, c), n in zip(LAWS, row)] for row in counts])


def answers(
    rng: np.random.Generator,
    errors: np.ndarray,
    *,
    test_images: int = 60,
    repeats: int = 3,
    luck: float = 0.02,
) -> tuple[np.ndarray, np.ndarray]:
    """(A, R, N) right or not, and labels. Errors by arm and class; some images are hard in all
    trainings, and each training has luck of its own."""
    arms, classes = errors.shape
    labels = np.repeat(np.arange(classes), test_images)
    wrong = np.clip(errors[:, None] + rng.normal(0, luck, (arms, repeats, classes)), 0.001, 0.999)
    limits = QUANTILE(wrong)[:, :, labels]
    hard = np.sqrt(0.6) * rng.normal(size=labels.size)
    own = np.sqrt(0.4) * rng.normal(size=(arms, repeats, labels.size))
    return hard + own >= limits, labels


def halved_errors() -> tuple[np.ndarray, int]:
    """The whole set's, with class 0 at half its images."""
    counts = WHOLE.copy()
    counts[0] //= 2
    return errors_of(counts[None])[0], int(counts[0])


def fitted(rng: np.random.Generator, **options: float) -> LearningCurve:
    half, images = halved_errors()
    right, labels = answers(rng, np.vstack([errors_of(COUNTS), half]), **options)  # type: ignore[arg-type]
    return learning_curve(
        right[:3],
        labels,
        counts=COUNTS,
        classes=("x", "y", "z"),
        split="test",
        halved=[Halved(label=0, images=images, right=right[3])],
        seed=int(rng.integers(1 << 30)),
        draws=400,
    )


def inside(interval: tuple[float, float], truth: float) -> bool:
    return interval[0] <= truth <= interval[1]


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Simulation: 95 % intervals, 60 experiments of three classes, not independent within one."""
    rng = np.random.default_rng(0)
    truth = [b * n**-c * (1 - 2**-c) for (a, b, c), n in zip(LAWS, WHOLE)]
    half, _ = halved_errors()
    last = half[0] - errors_of(COUNTS)[-1, 0]
    hits: dict[str, list[bool]] = {}
    for _ in range(60):
        found = fitted(rng)
        for k, one in enumerate(found.classes):
            hits.setdefault("doubling", []).append(inside(one.doubling.interval, truth[k]))
            hits.setdefault("c", []).append(inside(one.c_interval, LAWS[k][2]))
            recall = 1 - errors_of(COUNTS)[-1, k]
            hits.setdefault("recall", []).append(inside(one.intervals[-1], recall))
        mean = float(np.mean(truth))
        hits.setdefault("all", []).append(inside(found.balanced.doubling.interval, mean))
        (alone,) = found.last_halves
        hits.setdefault("brought", []).append(inside(alone.brought.interval, last))
        hits.setdefault("alone", []).append(inside(alone.doubling.interval, truth[0]))
    shares = {name: float(np.mean(values)) for name, values in hits.items()}
    # A share of 0.95 among 60 has a standard error of 0.028.
    assert min(shares.values()) >= 0.85, shares


def test_with_many_test_images_and_sizes_the_law_is_recovered() -> None:
    shares = (0.05, 0.1, 0.2, 0.5, 1.0)
    whole = np.array([2_000, 4_000, 3_000])
    counts = np.array([[int(share * n) for n in whole] for share in shares])
    right, labels = answers(
        np.random.default_rng(1), errors_of(counts), test_images=3_000, repeats=4, luck=0.0
    )
    found = learning_curve(
        right, labels, counts=counts, classes=("x", "y", "z"), split="test", draws=300
    )
    for one, (a, b, c) in zip(found.classes, LAWS):
        assert inside(one.c_interval, c)
        n = one.images[-1]
        assert one.doubling.gain == pytest.approx(b * n**-c * (1 - 2**-c), abs=0.01)
        assert inside(one.doubling.interval, b * n**-c * (1 - 2**-c))
        assert one.law[0] + one.law[1] * n ** -one.law[2] == pytest.approx(a + b * n**-c, abs=0.02)
        assert one.fitted[-1][0] == pytest.approx(2 * n)


def test_what_can_be_told_comes_first() -> None:
    """Class 0 gains with every image; class 1 is as it is."""
    rng = np.random.default_rng(2)
    errors = np.array([[0.6, 0.3], [0.4, 0.3], [0.25, 0.3]])
    right, labels = answers(rng, errors, test_images=200)
    counts = np.array([[25, 100], [50, 200], [100, 400]])
    found = learning_curve(right, labels, counts=counts, classes=("grows", "flat"), split="val")
    (first, gain, alone), (second, flat, _) = found.ranked
    assert (first, second, alone) == ("grows", "flat", False)
    assert gain.told
    assert gain.interval[0] > 0.02
    assert not flat.told
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["ranked"][1]["told"] is False


def test_a_class_measured_alone_is_told_by_that() -> None:
    found = fitted(np.random.default_rng(3))
    (alone,) = found.last_halves
    assert (alone.name, alone.images_half, alone.images) == ("x", 60, 120)
    assert alone.brought.gain == pytest.approx(alone.recall - alone.recall_half)
    # The next doubling brings 2^-c of the last half, c in [0.05, 1].
    assert 0.5 <= alone.doubling.gain / alone.brought.gain <= 0.97
    row = next(row for row in found.ranked if row[0] == "x")
    assert row[1:] == (alone.doubling, True)


def test_certain_answers_are_not_certain() -> None:
    """All right at every size: the interval of the gain has a width all the same."""
    right = np.ones((3, 3, 40), dtype=bool)
    counts = np.array([[10, 10], [20, 20], [40, 40]])
    found = learning_curve(
        right, np.repeat([0, 1], 20), counts=counts, classes=("a", "b"), split="test"
    )
    low, high = found.classes[0].doubling.interval
    assert low < 0 < high
    assert not found.classes[0].doubling.told


def test_groups_widen_what_is_known() -> None:
    """Groups of ten test images are right or wrong together."""
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(20), 10)
    hard = rng.random((3, 20)) < np.array([0.4, 0.5, 0.6])[:, None]
    right = np.repeat(hard[:, None, group], 3, axis=1)
    counts = np.array([[25], [50], [100]])
    labels = np.zeros(200, dtype=int)
    widths = []
    for groups in (None, group):
        found = learning_curve(
            right, labels, counts=counts, classes=("a",), split="test", groups=groups
        )
        low, high = found.classes[0].intervals[-1]
        widths.append(high - low)
        assert found.by_group is (groups is not None)
    assert widths[1] > 2 * widths[0]


def test_a_curve_that_is_no_power_law_is_known_less_well() -> None:
    """Recalls 0.6, 0.9, 0.6 in every repeat: hardly any luck, and no law through them."""
    counts = np.array([[25], [50], [100]])
    widths = []
    for shares in ((0.6, 0.75, 0.82), (0.6, 0.9, 0.6)):
        right = np.arange(500)[None, None] < 500 * np.array(shares)[:, None, None]
        found = learning_curve(
            np.repeat(right, 3, axis=1),
            np.zeros(500, dtype=int),
            counts=counts,
            classes=("a",),
            split="test",
        )
        low, high = found.classes[0].doubling.interval
        widths.append(high - low)
    assert widths[1] > 3 * widths[0]
    assert not found.classes[0].doubling.told


def test_classes_without_a_curve_are_left_out() -> None:
    right, labels = answers(np.random.default_rng(5), errors_of(COUNTS))
    counts = COUNTS.copy()
    counts[0, 1] = counts[1, 1]
    found = learning_curve(
        right[:, :, labels != 2],
        labels[labels != 2],
        counts=counts,
        classes=("x", "y", "z"),
        split="test",
        draws=50,
    )
    assert [one.name for one in found.classes] == ["x"]
    assert found.balanced.test_images == 120
    with pytest.raises(InputError, match="do not fit together"):
        learning_curve(right, labels[1:], counts=counts, classes=("x", "y", "z"), split="test")


def test_a_gain_says_its_interval() -> None:
    gain = Gain(gain=0.061, interval=(-0.02, 0.14))
    assert str(gain) == "+0.06 (-0.02 to +0.14)"
    assert not gain.told
    loss, sure = Gain(gain=-0.1, interval=(-0.2, -0.01)), Gain(gain=0.01, interval=(0.005, 0.02))
    assert loss.told
    assert sorted([loss, gain, sure], key=lambda one: one.rank) == [sure, gain, loss]
