"""Means of states: by hand, and torch's own statistics as the oracle."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from everyclass.errors import InputError
from everyclass.imbalance.averaging import average_states, load_average


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))


def states() -> list[dict[str, torch.Tensor]]:
    found = []
    for seed in range(3):
        one = network(seed)
        one(torch.rand(8, 3, 6, 6))  # moves the statistics and the counter
        found.append(one.state_dict())
    return found


def test_the_mean_by_hand() -> None:
    counter = "counter"
    found = average_states(
        [
            {"w": torch.tensor([1.0, 2.0]), counter: torch.tensor(3)},
            {"w": torch.tensor([2.0, 6.0]), counter: torch.tensor(9)},
        ]
    )
    assert found["w"].tolist() == [1.5, 4.0]
    assert int(found[counter]) == 9
    half = average_states([{"w": torch.tensor([1.0]).half()}] * 3)
    assert half["w"].dtype == torch.float16


def test_statistics_are_those_of_the_mean_network() -> None:
    given = states()
    batches = [torch.rand(16, 3, 6, 6) for _ in range(4)]
    loaded = network(9)
    loaded(torch.rand(2, 3, 6, 6))
    loaded.eval()
    load_average(loaded, given, batches)
    mean = average_states(given)
    assert torch.equal(loaded[0].weight, mean["0.weight"])
    with torch.no_grad():
        inner = torch.stack([loaded[0](one) for one in batches])  # equal batches: one large one
    flat = inner.permute(2, 0, 1, 3, 4).reshape(4, -1)
    torch.testing.assert_close(loaded[1].running_mean, flat.mean(dim=1))
    torch.testing.assert_close(loaded[1].running_var, flat.var(dim=1), rtol=0.02, atol=0)
    assert not torch.allclose(loaded[1].running_mean, mean["1.running_mean"], atol=1e-3)
    assert not loaded.training


def test_without_batch_normalisation_no_image_is_read() -> None:
    plain = nn.Linear(2, 2)
    load_average(plain, [plain.state_dict()], iter(()))
    with pytest.raises(InputError, match="measure 1 layers"):
        load_average(network_ready(), states(), [])


def network_ready() -> nn.Sequential:
    one = network(0)
    one(torch.rand(2, 3, 6, 6))
    return one


def test_states_of_two_networks_are_refused() -> None:
    one = {"w": torch.zeros(2)}
    with pytest.raises(InputError, match="no states"):
        average_states([])
    with pytest.raises(InputError, match="differ in 'v'"):
        average_states([{"v": torch.zeros(2)}, one])
    with pytest.raises(InputError, match=r"\(3,\) in state 0"):
        average_states([{"w": torch.zeros(3)}, one])
    with pytest.raises(InputError, match="do not fit the network"):
        load_average(nn.Linear(2, 2), [one], [])
