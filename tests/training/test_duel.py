from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from everyclass.training.duel import LEAST_ROUNDS, MOST_ROUNDS, Duel, duel


@dataclass
class Bench:
    """A clock that only steps move, and who stepped."""

    now: float = 0.0
    order: list[str] = field(default_factory=list)

    def way(self, name: str, seconds: list[float], losses: list[float]) -> Callable[[], float]:
        """Steps that take these seconds and give these losses, the last ones for ever."""
        done = 0

        def step() -> float:
            nonlocal done
            k, done = done, done + 1
            self.order.append(name)
            self.now += seconds[min(k, len(seconds) - 1)]
            return losses[min(k, len(losses) - 1)]

        return step

    def duel(
        self,
        holder: list[float],
        challenger: list[float],
        *,
        losses: tuple[list[float], list[float]] = ([1.0], [1.0]),
        seconds: float = 1e9,
    ) -> Duel:
        return duel(
            self.way("holder", holder, losses[0]),
            self.way("challenger", challenger, losses[1]),
            tolerance=0.01,
            seconds=seconds,
            clock=lambda: self.now,
        )


def test_medians_without_the_first_step() -> None:
    """Hand-computed: 90 s of warm-up are not counted, one slow step of five is no median."""
    bench = Bench()
    found = bench.duel([90.0, 1.0, 9.0, 2.0, 8.0], [90.0, 0.5, 0.1, 0.3, 7.0], seconds=12.6)
    # Rounds of 1.5, 9.1 and 2.3 s: the fourth begins after 12.9 s and does not take place.
    assert found.holder_seconds == pytest.approx(2.0)
    assert found.challenger_seconds == pytest.approx(0.3)
    assert found.rounds == 3
    assert found.challenger_wins


def test_steps_come_in_turns_and_who_is_first_changes() -> None:
    bench = Bench()
    bench.duel([1.0], [1.0])
    pairs = [bench.order[k : k + 2] for k in range(0, len(bench.order), 2)]
    assert all(set(pair) == {"holder", "challenger"} for pair in pairs)
    assert pairs[1][0] != pairs[2][0]


@pytest.mark.parametrize(
    ("challenger", "wins"), [(1.2, False), (1.0, False), (0.96, False), (0.94, True)]
)
def test_the_holder_wins_ties_and_what_noise_may_be(challenger: float, wins: bool) -> None:
    assert Bench().duel([1.0], [challenger]).challenger_wins is wins


def test_a_faster_way_with_another_loss_does_not_win() -> None:
    found = Bench().duel([1.0], [0.1], losses=([2.0], [2.0, 2.1]))
    assert found.loss_difference == pytest.approx(0.05)
    assert not found.challenger_wins
    assert found.rounds == 1  # no time is spent on it


def test_a_loss_that_is_no_number_agrees_with_nothing() -> None:
    assert not Bench().duel([1.0], [0.1], losses=([1.0], [float("nan")])).agree
    assert not Bench().duel([1.0], [0.1], losses=([float("nan")], [float("nan")])).agree


def test_it_ends_where_time_is_left() -> None:
    assert Bench().duel([1.0], [1.0]).rounds == MOST_ROUNDS


def test_time_ends_it_after_the_least_rounds() -> None:
    assert Bench().duel([1.0], [1.0], seconds=0.0).rounds == LEAST_ROUNDS
