"""Watching costs a bounded share of the time, and rests by no pattern."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from everyclass.capture.assemble import case_of, watched_of
from everyclass.capture.patches import Patches
from everyclass.capture.rhythm import BLOCK, EVERY_STEP_UNTIL, LEAST_WATCHED, MOST_COST, Rhythm
from everyclass.capture.session import Session


class Run:
    """A script whose watched steps cost `cost` seconds beside one second of its own."""

    def __init__(self, cost: float) -> None:
        self.now = self.spent = 0.0
        self.cost = cost
        self.rhythm = Rhythm(clock=lambda: self.now)

    def steps(self, first: int, last: int) -> list[bool]:
        rested = []
        for step in range(first, last):
            rests = self.rhythm.rests(step, self.spent)
            rested.append(rests)
            spent = 0.0 if rests else self.cost
            self.spent += spent
            self.now += 1 + spent
        return rested


def test_every_step_is_watched_at_first_and_where_that_is_cheap() -> None:
    dear = Run(0.5)
    assert not any(dear.steps(0, EVERY_STEP_UNTIL))
    assert any(dear.steps(EVERY_STEP_UNTIL, EVERY_STEP_UNTIL + BLOCK))
    assert not any(Run(0.9 * MOST_COST).steps(0, 20 * BLOCK + EVERY_STEP_UNTIL))


def test_the_share_of_watched_steps_follows_their_cost() -> None:
    run = Run(0.06)
    run.steps(0, EVERY_STEP_UNTIL + 4 * BLOCK)
    before, now = run.spent, run.now
    rested = run.steps(EVERY_STEP_UNTIL + 4 * BLOCK, EVERY_STEP_UNTIL + 24 * BLOCK)
    assert 0 < (run.spent - before) / (run.now - now) <= MOST_COST
    # No step is like another: neither the even ones only, nor any other period.
    for period in (2, 3, 7, 8):
        for phase in range(period):
            assert 0.5 < sum(rested[phase::period]) / len(rested[phase::period]) < 0.9
    run.cost = 0.0
    later = EVERY_STEP_UNTIL + 24 * BLOCK
    run.steps(later, later + 4 * BLOCK)
    assert not any(run.steps(later + 4 * BLOCK, later + 6 * BLOCK))


def test_something_is_always_watched() -> None:
    run = Run(50.0)
    rested = run.steps(0, EVERY_STEP_UNTIL + 40 * BLOCK)[-30 * BLOCK :]
    assert run.rhythm.watched_share == LEAST_WATCHED
    assert rested.count(False) / len(rested) == pytest.approx(LEAST_WATCHED, rel=0.4)


class Restless(Rhythm):
    """Rests at every odd step, from the start."""

    def rests(self, step: int, spent: float) -> bool:
        return step % 2 == 1


def trained(*, evaluate_with_gradients: bool) -> Session:
    session = Session(rhythm=Restless())
    patches = Patches(session)
    patches.install()
    try:
        torch.manual_seed(0)
        model = nn.Linear(6, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        x, y = torch.randn(42, 6), torch.randint(0, 3, (42,))
        train = DataLoader(TensorDataset(x, y), batch_size=6)
        held_out = DataLoader(TensorDataset(x[:12], y[:12]), batch_size=6)
        for _ in range(4):
            for inputs, targets in train:
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), targets).backward()
                optimizer.step()
            with torch.set_grad_enabled(evaluate_with_gradients):
                for inputs, targets in held_out:
                    F.cross_entropy(model(inputs), targets)
        session.end()
    finally:
        patches.remove()
    assert session.failure is None
    case = case_of(session, patches.originals)
    assert case is not None
    assert (case.steps, case.forwards) == (28, 28)
    return session


def test_a_resting_session_counts_steps_and_sees_evaluations() -> None:
    session = trained(evaluate_with_gradients=False)
    assert session.facts.evaluation == 8
    # 14 odd steps; a pass over a loader begins before one of them in every other epoch.
    assert session.facts.left_out == 12
    assert session.facts.training == 16
    assert any("left out 12 training passes" in one for one in watched_of(session).notes)
    # A batch that is kept says which of the run's batches it is.
    numbers = [one.number for one in session.reservoir.training()]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 26
    steps = [one.step for one in session.reservoir.training()]
    assert steps == numbers


def test_a_script_that_evaluates_with_gradients_is_watched_all_the_time() -> None:
    session = trained(evaluate_with_gradients=True)
    assert session.facts.evaluation == 8
    # Known from the first evaluation on.
    assert session.facts.left_out == 3
