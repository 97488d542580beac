"""Which tensor of a checkpoint was meant for which of a network, and what is said of it."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from checks_zoo import bn_cnn, cnn
from test_trials import Ticks, captured, case
from torch import Tensor, nn

from everyclass.capture.state_loads import StateLoads
from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.case import StateLoad
from everyclass.diagnosis.causes.checkpoint import weights_loaded
from everyclass.diagnosis.diagnose import diagnose_case
from everyclass.diagnosis.material import Material
from everyclass.diagnosis.state_names import beginnings, elements, meant_for, tensors_of

NET = {"conv.weight": (8, 3, 3, 3), "conv.bias": (8,), "fc.weight": (4, 8), "fc.bias": (4,)}


@pytest.mark.parametrize(
    ("removed", "added"),
    [("module.", ""), ("", "backbone."), ("model.encoder.", "net."), ("_orig_mod.module.", "")],
)
def test_names_that_begin_otherwise_are_put_right(removed: str, added: str) -> None:
    offered = {removed + name: shape for name, shape in NET.items()}
    expected = {added + name: shape for name, shape in NET.items()}
    meant = meant_for(offered, expected)
    assert meant == {removed + name: added + name for name in NET}
    assert beginnings(meant) == (removed, added)


def test_a_head_of_another_size_stays_out() -> None:
    offered = {f"module.{name}": shape for name, shape in NET.items()} | {
        "module.fc.weight": (1000, 8),
        "module.fc.bias": (1000,),
    }
    assert meant_for(offered, NET) == {
        "module.conv.weight": "conv.weight",
        "module.conv.bias": "conv.bias",
    }


def test_other_names_in_the_same_order_fit_by_their_shapes() -> None:
    offered = {f"layer{i}": shape for i, shape in enumerate(NET.values())}
    assert list(meant_for(offered, NET).values()) == list(NET)
    assert beginnings(meant_for(offered, NET)) is None
    assert meant_for({"a": (3, 3), "b": (7,)}, NET) == {}


def test_layers_that_look_alike_keep_their_places() -> None:
    """Every block has the same shapes: only the longest common ending tells them apart."""
    names = [f"blocks.{i}.{part}" for i in range(3) for part in ("weight", "bias")]
    shapes = {name: (5, 5) if name.endswith("weight") else (5,) for name in names}
    offered = {f"module.{name}": shape for name, shape in shapes.items()}
    assert meant_for(offered, shapes) == {f"module.{name}": name for name in names}


def test_weights_are_found_within_a_checkpoint() -> None:
    model = cnn()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(2, 3, 16, 16)).sum().backward()
    optimizer.step()
    state = {"epoch": 3, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    assert tensors_of(state).keys() == model.state_dict().keys()
    assert tensors_of(model.state_dict()).keys() == model.state_dict().keys()
    assert tensors_of({"epoch": 3}) == {}
    assert elements({"a": torch.zeros(2, 3), "b": torch.zeros(4)}) == 10


def loaded(*, taken: float = 0.0, own: bool = False, prefix: str = "module.") -> StateLoad:
    """What a network that has learned the images would leave behind."""
    model = bn_cnn(seed=3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for batch in captured(n=60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(*batch.args), batch.targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    state = {prefix + name: one.clone() for name, one in model.state_dict().items()}
    return StateLoad(place="", tensors=state, taken=taken, own=own, site="train.py:31")


def test_a_checkpoint_left_out_is_proved_by_loading_it() -> None:
    model = bn_cnn()
    given = case(model, lr=1e-6, loads=(loaded(),))
    before = copy.deepcopy(model.state_dict())
    found = diagnose_case(given, verdict="not-learning", budget_seconds=20, clock=Ticks())
    assert found.answer is not None
    assert (found.answer.id, found.answer.state) == ("weights-not-loaded", "proved")
    assert "took 0 % of the weights" in found.answer.sentence
    assert "'module.' taken off their names" in found.answer.sentence
    assert found.remedies[0].code == "train.py:31"
    assert "k.removeprefix('module.')" in found.remedies[0].sentence
    assert found.answer.trial is not None
    assert found.answer.trial.change == "checkpoint-loaded"
    assert found.answer.trial.permuted is None
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())


def test_what_its_own_trial_refutes_is_no_first_answer() -> None:
    """The weights of a checkpoint that knows nothing do not help, whatever was left out."""
    useless = {f"module.{name}": one.clone() for name, one in bn_cnn(seed=9).state_dict().items()}
    load = replace(loaded(), tensors=useless)
    found = diagnose_case(
        case(bn_cnn(), lr=1e-6, loads=(load,)),
        verdict="not-learning",
        budget_seconds=30,
        clock=Ticks(),
    )
    assert found.answer is not None
    assert (found.answer.id, found.answer.proved) == ("learning-rate-too-low", True)


def test_what_is_taken_or_fits_nothing_is_told_as_it_is() -> None:
    def answer(load: StateLoad) -> tuple[str | None, str]:
        told = weights_loaded(Material(case(bn_cnn(), loads=(load,))))
        return told.cause, told.sentence

    whole = StateLoad(place="", tensors={}, taken=0.99, own=False, site="")
    assert answer(whole) == (
        None,
        "99 % or more of each checkpoint's weights went into the network.",
    )
    # Most of a larger network, of which this one is a part: left out on purpose.
    larger = {f"text.{i}": torch.zeros(40, 40) for i in range(30)}
    assert answer(replace(whole, tensors=larger, taken=0.3))[0] is None
    cause, sentence = answer(replace(whole, tensors=larger, taken=0.0))
    assert cause == "weights-not-loaded"
    assert "Its first tensor is 'text.0'; the network's is '0.weight'." in sentence
    cause, sentence = answer(replace(whole, own=True))
    assert cause == "weights-not-loaded"
    assert "was given the network's own weights" in sentence


def test_what_another_network_took_nothing_of_is_told() -> None:
    loads, state = StateLoads(), {f"module.{k}": v for k, v in bn_cnn().state_dict().items()}
    watched, later = bn_cnn(), bn_cnn()

    def load(module: nn.Module, given: dict[str, Tensor], *, trained: bool) -> None:
        offer = loads.offered(module, given, trained=trained)
        if offer is not None:
            loads.loaded(offer)

    load(watched, bn_cnn().state_dict(), trained=True)  # the best epoch's weights, say
    assert loads.lost(watched) == ()
    load(later, state, trained=True)
    (lost,) = loads.lost(watched)
    assert (lost.network, lost.tensors, lost.fitting) == ("Sequential", len(state), len(state))
    assert loads.of(watched) == ()
    answer = weights_loaded(Material(case(watched, lost_loads=(lost,))))
    assert answer.cause == "weights-not-loaded"
    assert answer.evidence["fact"]
    assert f"took nothing of the {len(state)} tensors" in answer.sentence
    strange = replace(lost, fitting=0)
    with pytest.raises(NotApplicable):
        weights_loaded(Material(case(watched, lost_loads=(strange,))))
