"""`everyclass.diagnose` on a live model: what is answered, refused, and left as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from checks_zoo import batch, bn_cnn, cnn, sgd
from torch.nn import functional

import everyclass
from everyclass.contracts import Verdict
from everyclass.diagnosis import diagnose as home
from everyclass.errors import InputError


def loader(n: int = 24, scale: float = 1.0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    made = (batch(16, seed=seed) for seed in range(n))
    return [(images * scale, labels) for images, labels in made]


@pytest.fixture(autouse=True)
def _steady_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look takes 4 ms, whatever the machine."""
    now = [0.0]

    def clock() -> float:
        now[0] += 0.004
        return now[0]

    plain = home.run_trials

    def timed(*args: object, **keywords: object) -> object:
        return plain(*args, **{**keywords, "clock": clock})  # type: ignore[arg-type]

    monkeypatch.setattr(home, "run_trials", timed)


def test_a_rate_too_low_is_proved_on_a_live_model() -> None:
    model = bn_cnn()
    optimizer = sgd(model, 1e-6)
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    diagnosis = everyclass.diagnose(
        model, loader(), functional.cross_entropy, optimizer, budget_seconds=12
    )
    assert diagnosis.answer is not None
    assert (diagnosis.answer.id, diagnosis.answer.proved) == ("learning-rate-too-low", True)
    assert all(torch.equal(before[0][name], one) for name, one in model.state_dict().items())
    assert before[1] == optimizer.state_dict()
    shown = diagnosis._repr_html_()
    assert "<b>learning-rate-too-low</b> (proved)" in shown
    assert "<table>" in shown
    assert diagnosis.answer.trial is not None
    assert f">{diagnosis.answer.trial.words}</th>" in shown


@pytest.mark.parametrize("verdict", ["collapsed", None])
def test_a_fault_of_the_loop_is_suspected_where_copies_learn(verdict: Verdict | None) -> None:
    model = cnn()
    initial_state = copy.deepcopy(model.state_dict())
    optimizer = sgd(model, 0.2)
    for images, labels in loader() * 5:
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()  # and never zero_grad
    diagnosis = everyclass.diagnose(
        model,
        loader(),
        functional.cross_entropy,
        optimizer,
        initial_state=initial_state,
        steps=120,
        verdict=verdict,
        budget_seconds=12,
    )
    found = {one.id: one for one in diagnosis.causes}
    if verdict is None:  # nobody said that it failed
        assert "gradients-not-cleared" not in found
        return
    assert diagnosis.causes[0].id == "gradients-not-cleared"
    assert not found["gradients-not-cleared"].proved
    assert "never cleared" in found["gradients-not-cleared"].sentence
    assert any("zero_grad" in one.sentence for one in diagnosis.remedies)
    assert any("own loop" in one for one in diagnosis.notes)


def test_an_endless_loader_is_drawn_from_no_further_than_needed() -> None:
    drawn = 0

    def endless() -> object:
        nonlocal drawn
        while True:
            drawn += 1
            yield batch(4, seed=drawn % 40)

    model = cnn()
    everyclass.diagnose(
        model,
        endless(),  # type: ignore[arg-type]
        functional.cross_entropy,
        sgd(model, 0.05),
        budget_seconds=0.5,
    )
    assert drawn == 256


def test_bad_arguments_are_refused_with_what_to_do() -> None:
    model = cnn()
    with pytest.raises(InputError, match="batches holds no batch"):
        everyclass.diagnose(model, [], functional.cross_entropy)
    with pytest.raises(InputError, match="batch 1 is of type Tensor"):
        everyclass.diagnose(model, [batch(16), batch(16)[0]], functional.cross_entropy)
    with pytest.raises(InputError, match="budget_seconds is 0"):
        everyclass.diagnose(model, loader(), functional.cross_entropy, budget_seconds=0)
    wrong = [(torch.rand(16, 5, 8, 8), torch.zeros(16, dtype=torch.long))] * 4
    with pytest.raises(InputError, match="could not be run on the batch"):
        everyclass.diagnose(model, wrong, functional.cross_entropy)
