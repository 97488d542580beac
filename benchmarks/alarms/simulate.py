"""False-alarm probability and power of the monitor's tests, by simulation.

    python benchmarks/alarms/simulate.py [--runs 10000] [--rounds 10000] [--seed 0]

Level: each test is fed scores that obey its null exactly at the boundary, armed in every round (the
worst case), and the share of runs in which it ever raises an alarm is set beside the stated level.
Beside it, on the same scores, a plain e-detector (Shin, Ramdas and Rinaldo 2023), which bounds the
mean time between false alarms and not the chance per run, with the same bets and threshold.

Power: images until a class without recall is alarmed on, and rounds of 32 images until a collapse
is alarmed on and until the predictions are shown to be informative, by number of classes and
imbalance; medians, and the share of runs within the horizon.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everyclass.monitoring.alarms import (
    FULL_BET_IMAGES,
    GAIN_RANGE,
    LEAST_ESCAPES,
    LEAST_GAIN,
    LEAST_OTHERS,
    LEAST_RECALL,
    MOST_BAD_ROUNDS,
    SHARE_OF_LEVEL,
    STATE_LEVEL,
)
from everyclass.stats.intervals import wilson_interval
from everyclass.stats.sequential import Detector, Detectors, at_least, at_most

Floats = NDArray[np.float64]
LEVEL = 0.01
CLASSES = 10


def collapse_factor(scores: Floats, weight: float = 1.0) -> Floats:
    return 1 + weight * (at_least(scores, mean=LEAST_ESCAPES, low=0, high=1) - 1)


def learning_factor(scores: Floats) -> Floats:
    return at_least(scores, mean=LEAST_GAIN, low=-GAIN_RANGE, high=GAIN_RANGE)


def diverged_factor(scores: Floats) -> Floats:
    return at_least(scores, mean=1 - MOST_BAD_ROUNDS, low=0, high=1)


def starved_factor(recalls: Floats, images: NDArray[Any] | int) -> Floats:
    weight = np.minimum(1.0, np.asarray(images) / FULL_BET_IMAGES)
    return 1 + weight * (at_least(recalls, mean=LEAST_RECALL, low=0, high=1) - 1)


def informative_factor(scores: Floats) -> Floats:
    return at_most(scores, mean=0.0, low=-0.25, high=0.25)


def gaining_factor(scores: Floats) -> Floats:
    return at_most(scores, mean=LEAST_GAIN, low=-GAIN_RANGE, high=GAIN_RANGE)


def nulls(
    rng: np.random.Generator, runs: int
) -> dict[str, tuple[float, int, Callable[[], Floats]]]:
    """Name -> (level of each test, tests a run, one round of factors)."""

    def two_point(low: float, high: float, mean: float) -> Callable[[], Floats]:
        p = (mean - low) / (high - low)
        return lambda: np.where(rng.random(runs) < p, high, low)

    def recalls() -> Floats:
        images = rng.poisson(3.2, (runs, CLASSES)).clip(1)
        hits = rng.binomial(images, LEAST_RECALL)
        return starved_factor(hits / images, images)

    gain, bad = two_point(-GAIN_RANGE, GAIN_RANGE, LEAST_GAIN), two_point(0, 1, 0.5)
    kappa, flat = two_point(-0.25, 0.25, 0.0), two_point(-GAIN_RANGE, GAIN_RANGE, LEAST_GAIN)
    rare = two_point(0, 1, LEAST_ESCAPES)
    share = SHARE_OF_LEVEL
    return {
        "collapsed, 29 others a round": (
            LEVEL * share["collapsed"],
            1,
            lambda: collapse_factor(rng.binomial(29, LEAST_ESCAPES, runs) / 29),
        ),
        "collapsed, all or none escape": (
            LEVEL * share["collapsed"],
            1,
            lambda: collapse_factor(rare()),
        ),
        "not-learning, gains of +-5 %": (
            LEVEL * share["not-learning"],
            1,
            lambda: learning_factor(gain()),
        ),
        "not-learning, noise of 2 %": (
            LEVEL * share["not-learning"],
            1,
            lambda: learning_factor(rng.normal(LEAST_GAIN, 0.02, runs).clip(-0.03, 0.05)),
        ),
        "diverged": (LEVEL * share["diverged"], 1, lambda: diverged_factor(bad())),
        "starved, 10 classes": (LEVEL * share["starved"], CLASSES, recalls),
        "informative shown": (STATE_LEVEL, 1, lambda: informative_factor(kappa())),
        "loss below the prior shown": (STATE_LEVEL, 1, lambda: gaining_factor(flat())),
    }


def level_table(runs: int, rounds: int, seed: int) -> None:
    print(f"False alarms under the null, {runs:,} runs of {rounds:,} rounds\n")
    print("| test | stated | runs that alarmed | 95 % interval (Wilson) | plain e-detector |")
    print("|---|---|---|---|---|")
    rng = np.random.default_rng(seed)
    for name, (level, tests, draw) in nulls(rng, runs).items():
        shape = (runs,) if tests == 1 else (runs, tests)
        ours = Detectors(shape)
        plain = np.zeros(shape)
        fired = np.zeros(shape, dtype=bool)
        for _ in range(rounds):
            factors = draw()
            ours.update(factors)
            plain = np.minimum(factors * (plain + 1), 1e100)
            fired |= plain >= tests / level
        over = ours.crossed(level / tests)
        count = int((over if tests == 1 else over.any(axis=1)).sum())
        old = float((fired if tests == 1 else fired.any(axis=1)).mean())
        low, high = (float(end) for end in wilson_interval(count, runs))
        flag = "" if count / runs <= level else "  ABOVE"
        print(
            f"| {name} | {level:.2%} | {count / runs:.2%}{flag} | {low:.2%} to {high:.2%} "
            f"| {old:.1%} |",
            flush=True,
        )


def rounds_until(draw: Callable[[], Floats], *, runs: int, level: float, horizon: int) -> str:
    wealth = Detectors((runs,))
    when = np.full(runs, np.inf)
    for t in range(1, horizon + 1):
        wealth.update(draw())
        when[np.isinf(when) & wealth.crossed(level)] = t
        if np.isfinite(when).all():
            break
    found = np.isfinite(when).mean()
    median = float(np.median(when))
    return f"{median:,.0f} ({found:.0%})" if math.isfinite(median) else f"- ({found:.0%})"


def power_tables(runs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    print("\nImages of a class that is never recognised until the alarm, batches of 32\n")
    print("| classes | 1:1 | 1:10 below the mean share | 1:50 below |")
    print("|---|---|---|---|")
    for classes in (2, 5, 8, 50):
        cells = []
        for ratio in (1, 10, 50):
            mean = 32 / classes / ratio
            level = LEVEL * SHARE_OF_LEVEL["starved"] / classes
            wealth, images = Detectors((runs,)), np.zeros(runs)
            when = np.full(runs, np.nan)
            for _ in range(60_000):
                here = rng.poisson(mean, runs)
                images += here
                wealth.update(starved_factor(np.zeros(runs), here), where=here > 0)
                new = np.isnan(when) & wealth.crossed(level)
                when[new] = images[new]
                if not np.isnan(when).any():
                    break
            cells.append(f"{np.nanmedian(when):,.0f}")
        print(f"| {classes} | {' | '.join(cells)} |", flush=True)
    print("\nRounds of 32 images until a collapse into one class is alarmed on\n")
    print("| share of the majority | from the start of the bet | after 1,000 healthy rounds |")
    print("|---|---|---|")
    for majority in (0.02, 0.2, 0.5, 0.9, 0.98):
        cells = []
        for before in (0, 1000):
            others = rng.binomial(32, 1 - majority, (200, 20_000))
            times = []
            for row in others:
                # A healthy past only counts the rounds that have gone by; its bets are lost.
                detector = Detector(steps=before)
                for k in row[row > 0]:
                    weight = min(1.0, k / LEAST_OTHERS)
                    detector.update(float(collapse_factor(np.zeros(()), weight)))
                    if detector.crossed(LEVEL * SHARE_OF_LEVEL["collapsed"]):
                        break
                times.append(detector.steps - before)
            cells.append(f"{np.median(times):,.0f}")
        print(f"| {majority:.0%} | {' | '.join(cells)} |", flush=True)
    print("\nRounds of 32 images until predictions are shown to be informative (share of runs)\n")
    print("| classes | majority | +2 points | +5 points | +10 points | +30 points |")
    print("|---|---|---|---|---|---|")
    for classes, majority in ((2, 0.5), (2, 0.9), (8, 0.125), (8, 0.5), (50, 0.02)):
        prior = np.full(classes, (1 - majority) / (classes - 1))
        prior[0] = majority
        cells = [
            rounds_until(
                partial(informative_round, rng, prior, extra),
                runs=500,
                level=STATE_LEVEL,
                horizon=3000,
            )
            for extra in (0.02, 0.05, 0.1, 0.3)
        ]
        print(f"| {classes} | {majority:.0%} | {' | '.join(cells)} |", flush=True)


def informative_round(rng: np.random.Generator, prior: Floats, extra: float) -> Floats:
    return informative_factor(kappas(rng, prior, extra, 500))


def kappas(rng: np.random.Generator, prior: Floats, extra: float, runs: int) -> Floats:
    """Kappa of one round of 32: a share `extra` is known, the others are guessed by the prior."""
    classes = len(prior)
    labels = rng.choice(classes, (runs, 32), p=prior)
    guesses = np.where(
        rng.random((runs, 32)) < extra, labels, rng.choice(classes, (runs, 32), p=prior)
    )
    hits = (labels == guesses).sum(axis=1)
    expected = np.zeros(runs)
    for c in range(classes):
        expected += (labels == c).sum(axis=1) * (guesses == c).sum(axis=1) / 32
    room = 32 - expected
    return np.where(room > 1e-9, (hits - expected) / np.maximum(room, 1e-9), 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    level_table(options.runs, options.rounds, options.seed)
    power_tables(min(options.runs, 1000), options.seed + 1)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
