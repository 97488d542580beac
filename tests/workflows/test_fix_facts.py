"""What edits are told of a captured training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from everyclass.diagnosis.case import CapturedBatch, Case, LossSpec
from everyclass.workflows.fix_facts import facts_of


class Scaling(nn.Module):
    """A network that changes its inputs before its first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.fc(self.conv(x / 255).mean((2, 3)))
        return y


def case_of(model: nn.Module, images: torch.Tensor) -> Case:
    targets = torch.tensor([0, 0, 0, 1] * (len(images) // 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Case(
        model=model,
        optimizers=(optimizer,),
        loss_function=nn.functional.cross_entropy,
        loss=LossSpec(name="cross_entropy"),
        n_classes=2,
        batches=(CapturedBatch(args=(images,), targets=targets),),
        rates=((0, 0.1), (5, 0.01)),
        call_sites={"model": "own/train.py:7", "optimizer": "own/other.py:3"},
    )


def plain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))


def test_figures_and_places_of_a_network_that_takes_its_inputs_as_they_are() -> None:
    torch.manual_seed(0)
    # Bright in its first column only: every sample of a stride of 8 would be the same.
    images = torch.randint(0, 100, (32, 3, 8, 8)).float()
    images[..., 0] = 200
    model = plain()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    facts = facts_of(case_of(model, images), script=Path("own/train.py"), folder=Path())
    assert facts.lines == {"model": 7}
    assert facts.elsewhere == {"optimizer": "own/other.py:3"}
    assert (facts.model_class, facts.optimizer_class) == ("Sequential", "SGD")
    assert (facts.loss, facts.head) == ("cross_entropy", "2")
    assert (facts.first_rate, facts.peak_rate, facts.rate_varied) == (0.1, 0.1, True)
    assert facts.log_prior == pytest.approx((-0.28768, -1.38629), abs=1e-4)  # ln 3/4, ln 1/4
    assert facts.inputs is not None
    assert facts.inputs.layer == ""
    assert facts.inputs.mean == pytest.approx(images.mean((0, 2, 3)).tolist(), rel=1e-5)
    assert facts.inputs.sd == pytest.approx(images.std((0, 2, 3), correction=0).tolist(), rel=1e-5)
    assert all(len(set(channel)) > 20 for channel in facts.inputs.samples)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_inputs_that_the_network_changes_are_measured_at_its_first_layer() -> None:
    images = torch.rand(32, 3, 8, 8) * 255
    facts = facts_of(case_of(Scaling(), images), script=Path("train.py"), folder=Path())
    assert facts.inputs is not None
    assert facts.inputs.layer == "conv"
    assert facts.inputs.samples == ()
    assert max(facts.inputs.mean) < 1


def test_a_network_that_cannot_be_run_leaves_its_figures_out() -> None:
    facts = facts_of(
        case_of(plain(), torch.zeros(32, 5, 8, 8)), script=Path("train.py"), folder=Path()
    )
    assert facts.inputs is None
    assert facts.model_class == "Sequential"
