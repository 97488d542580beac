"""Drift of the classes that are given: intervals and level by simulation, power, words."""

from __future__ import annotations

import numpy as np
import pytest

from everyclass.errors import InputError
from everyclass.stats.drift import (
    FALSE_ALARM,
    ODDS,
    ROUND_IMAGES,
    DriftTest,
    expected_shares,
    null_of,
)
from everyclass.stats.sequential import Detectors, share_at_least, share_at_most

NAMES = ("a", "b", "c", "d")
PRIOR = np.array([0.5, 0.3, 0.15, 0.05])
GIVEN = np.full((4, 4), 0.1) + 0.6 * np.eye(4)  # row = class, column = what it is called


def test_share_factors_by_hand() -> None:
    # q = 0.2 has odds 1/4; four times these are 1, so p = 1/2. Two hits: (0.5/0.2)^2 = 6.25; none:
    # (0.5/0.8)^2 = 0.390625; one: 2.5 x 0.625 = 1.5625.
    assert share_at_most([0, 1, 2], 2, share=0.2, odds=4.0) == pytest.approx(
        [0.390625, 1.5625, 6.25]
    )
    # The mirror: misses with share 0.2.
    assert share_at_least([0, 1, 2], 2, share=0.8, odds=4.0) == pytest.approx(
        [6.25, 1.5625, 0.390625]
    )
    assert share_at_most([0, 3], 3, share=1.0, odds=4.0) == pytest.approx([1, 1])
    assert share_at_least([0, 3], 3, share=0.0, odds=4.0) == pytest.approx([1, 1])


@pytest.mark.parametrize("odds", ODDS)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_share_factors_are_fair_at_the_null_and_lose_within_it(share: float, odds: float) -> None:
    hits = np.array([0, 1])
    factors = share_at_most(hits, 1, share=share, odds=odds)
    for truth, fair in ((share, True), (share / 2, False)):
        mean = (1 - truth) * factors[0] + truth * factors[1]
        assert mean == pytest.approx(1) if fair else mean < 1


def test_the_expected_share_by_hand() -> None:
    # Of 100 a's 80 are called a, of 50 b's 10: at frequencies 0.25 and 0.75, a is given to
    # 0.25 x 0.8 + 0.75 x 0.2 = 0.35 of the images, which lies inside; more images, less doubt.
    shares = [
        expected_shares(n * np.array([[80, 20], [10, 40]]), [0.25, 0.75], classes=("a", "b"))
        for n in (1, 100)
    ]
    for found in shares:
        assert found.low[0] < 0.35 < found.high[0]
        assert found.low[1] < 0.65 < found.high[1]
    assert shares[1].high[0] - shares[1].low[0] < 0.2 * (shares[0].high[0] - shares[0].low[0])
    assert shares[0].images == 150


def test_a_class_without_test_images_may_be_called_anything() -> None:
    found = expected_shares(
        [[1000, 0, 0], [0, 1000, 0], [0, 0, 0]], [0.4, 0.4, 0.2], classes=("a", "b", "c")
    )
    assert found.high[0] > 0.6
    assert found.high[2] > 0.2
    assert found.low[2] == 0
    assert found.low[0] < 0.4


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="do not fit 2 classes"):
        expected_shares(np.eye(3), [0.5, 0.5], classes=("a", "b"))


@pytest.mark.parametrize(
    "counts", [(60, 60, 60, 60), (500, 300, 150, 50), (5, 5, 5, 5)], ids=["even", "natural", "few"]
)
def test_intervals_miss_as_rarely_as_they_say(counts: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    truth, misses, runs = PRIOR @ GIVEN, 0, 300
    for _ in range(runs):
        drawn = np.stack([rng.multinomial(n, row) for n, row in zip(counts, GIVEN)])
        found = expected_shares(drawn, PRIOR, classes=NAMES, level=0.05)
        misses += bool(((truth < found.low) | (truth > found.high)).any())
    # 0.05 allows 15 of 300; 30 has a chance below 2e-4.
    assert misses < 30


def test_the_bets_alarm_as_rarely_as_they_say() -> None:
    """At the very border of the null: shares that are exactly those expected, and known exactly."""
    rng = np.random.default_rng(1)
    runs, rounds, level = 2_000, 100, 0.05
    odds = np.asarray(ODDS)[:, None]
    bets, largest = Detectors((runs, len(ODDS), 2, 4)), np.zeros(runs)
    for _ in range(rounds):
        hits = rng.multinomial(ROUND_IMAGES, PRIOR, size=runs)[:, None, :]
        above = share_at_most(hits, ROUND_IMAGES, share=PRIOR, odds=odds)
        below = share_at_least(hits, ROUND_IMAGES, share=PRIOR, odds=odds)
        bets.update(np.stack([above, below], axis=2))
        largest = np.maximum(largest, bets.wealth.mean(axis=(1, 2, 3)))
    alarms = int((largest >= 1 / level).sum())
    assert 0 < alarms < 0.05 * runs  # seen to be possible, and within the level


def simulated(seed: int, shares: np.ndarray, images: int) -> DriftTest:
    """Test images drawn anew, then so many served ones."""
    rng = np.random.default_rng(seed)
    drawn = np.stack([rng.multinomial(n, row) for n, row in zip((200, 120, 60, 20), GIVEN)])
    test = DriftTest(expected_shares(drawn, PRIOR, classes=NAMES))
    for given in rng.choice(4, size=images, p=shares):
        test.add(int(given))
    return test


def test_images_as_those_of_the_test_raise_no_alarm() -> None:
    alarms = sum(simulated(seed, PRIOR @ GIVEN, 2_000).alarm is not None for seed in range(40))
    # At a chance of 0.01 each, 4 of 40 have one of 7e-4.
    assert alarms < 4


def test_another_mix_of_classes_is_seen_and_named() -> None:
    # Class d, a twentieth of the training images, is now a half.
    shifted = np.array([0.2, 0.2, 0.1, 0.5]) @ GIVEN
    for seed in range(5):
        test = simulated(seed, shifted, 1_000)
        assert test.alarm is not None
        assert (test.alarm.name, test.alarm.more) in (("d", True), ("a", False))
        assert test.p_value < FALSE_ALARM / 2
        assert test.alarm.image <= 500
        assert "than expected" in test.alarm.sentence


def test_a_late_change_is_seen_and_told_by_the_last_images() -> None:
    test = simulated(0, PRIOR @ GIVEN, 3_000)
    assert test.alarm is None
    alarms = [found for found in (test.add(3) for _ in range(600)) if found is not None]
    assert len(alarms) == 1  # told once
    assert alarms[0].name == "d"
    assert 3_000 < alarms[0].image < 3_300
    assert alarms[0].share > alarms[0].high
    assert alarms[0].share == 1.0  # of the images since the change, not of those before
    assert alarms[0].recent == alarms[0].image - 3_000


def test_nothing_served_is_no_evidence() -> None:
    test = simulated(0, PRIOR @ GIVEN, 0)
    assert test.p_value == 1.0
    told = test.to_dict()
    assert told["alarm"] is None
    assert told["images"] == 0
    assert "at most 0.01" in null_of(test.expected)
    assert [one["name"] for one in told["classes"]] == list(NAMES)
