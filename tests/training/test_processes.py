"""Steps that two real gloo processes take together against the same steps of one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from everyclass.errors import InputError
from everyclass.imbalance.losses import weighted_cross_entropy
from everyclass.imbalance.mixing import Mixed, mixup
from everyclass.models.classifier import Classifier, Preprocessing
from everyclass.training.batch_statistics import WholeBatchNorms
from everyclass.training.batches import Batch, Rows, training_batches
from everyclass.training.optim import build_optimizer
from everyclass.training.processes import ALONE, Processes, parts_of
from everyclass.training.steps import steps
from everyclass.workflows.launch import OtherProcessEnded, fabric_of, together
from everyclass.workflows.launched import find_launch
from several_processes import run_several, slurm

N_IMAGES, BATCH, STEPS = 29, 7, 9  # the last batch of an epoch has one image


class Given:
    """The two settings that Fabric is made by."""

    device, precision = "cpu", "fp32"


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "augmented": {"augmentation": ("crop", "flip", "rotation", "quarter-turns")},
    "in parts": {"accumulation": 3, "clip_norm": 0.5, "augmentation": ("crop",)},
    "one image a part": {"accumulation": 7, "norms": False},
    "mixed": {"mix": True, "augmentation": ("flip",), "accumulation": 2},
}


def network(norms: bool) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6) if norms else nn.GroupNorm(2, 6),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, stride=2),
        BatchNormAct2d(6) if norms else nn.GroupNorm(2, 6),
        nn.Flatten(),
        nn.Linear(54, 3),
    )


def pixels(rows: Rows) -> np.ndarray:
    return np.stack(
        [np.random.default_rng(row).integers(0, 256, (8, 8, 3), np.uint8) for row in rows]
    )


def batches(processes: Processes, accumulation: int, *, whole: bool) -> Iterator[Batch]:
    return training_batches(
        pixels,
        np.arange(N_IMAGES) % 3,
        lambda epoch: np.random.default_rng(epoch).permutation(N_IMAGES).astype(np.int64),
        n_images=N_IMAGES,
        batch_size=BATCH,
        first_step=0,
        n_steps=STEPS,
        places=None
        if whole or not processes.several
        else lambda size: processes.places(size, accumulation),
    )


def trained(processes: Processes, *, norms: bool = True, mix: bool = False, **course: Any) -> Any:
    """Weights after some steps, and what the first process saw of each step."""

    def mixed(inputs: Tensor, targets: Tensor, generator: torch.Generator) -> Mixed:
        return mixup(inputs, targets, n_classes=3, generator=generator)

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return weighted_cross_entropy(logits, targets, torch.tensor([0.5, 1.0, 1.5]))

    fabric = fabric_of(Given, processes)  # type: ignore[arg-type]
    side = Preprocessing(side=8, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    classifier = Classifier(network(norms), side)
    plain = build_optimizer("sgd", classifier, learning_rate=1.0, momentum=0.9, weight_decay=0.01)
    model, optimizer = fabric.setup(classifier, plain)
    seen = [
        (one.loss.clone(), one.logits.clone(), one.targets.clone())
        for one in steps(
            model,
            optimizer,
            batches(processes, course.get("accumulation", 1), whole=mix),
            loss,
            fabric=fabric,
            rate=lambda step: 0.05,
            seed=3,
            mix=mixed if mix else None,
            processes=processes,
            **course,
        )
    ]
    return classifier.state_dict(), seen


def all_cases(folder: str) -> None:
    torch.set_num_threads(1)
    with together(find_launch()) as processes:
        found = {name: trained(processes, **case) for name, case in CASES.items()}
        numbers = processes.tell(*((3, 4) if processes.first else ()))
        found["words"] = (numbers, processes.collected(processes.rank * 10))
        torch.save(found, Path(folder) / f"{processes.rank}.pt")


def ends_alone() -> None:
    with together(find_launch()) as processes:
        processes.meet()
        if processes.rank == 1:
            raise SystemExit(5)
        with pytest.raises(OtherProcessEnded, match="Another of the 2"), _translated():
            dist.all_reduce(torch.zeros(3))
        raise SystemExit(6)


def _translated() -> Any:
    from everyclass.workflows.launch import told_of_lost_process

    return told_of_lost_process(find_launch())


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("two")
    ended = run_several(all_cases, [[str(folder)]] * 2, slurm(2), folder)
    assert [one.code for one in ended] == [0, 0], [one.err for one in ended]
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_take_the_steps_of_one(name: str, two: list[dict[str, Any]]) -> None:
    weights, seen = trained(ALONE, **CASES[name])
    for rank in (0, 1):
        for key, value in weights.items():
            torch.testing.assert_close(two[rank][name][0][key], value, rtol=1e-4, atol=1e-5)
    for (loss, logits, targets), (one_loss, one_logits, one_targets) in zip(
        two[0][name][1], seen, strict=True
    ):
        torch.testing.assert_close(loss, one_loss, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits, one_logits, rtol=1e-3, atol=1e-4)
        assert torch.equal(targets, one_targets)


def test_both_processes_have_the_same_weights_to_the_bit(two: list[dict[str, Any]]) -> None:
    for name in CASES:
        first, second = (one[name][0] for one in two)
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_words_of_the_first_process_reach_all(two: list[dict[str, Any]]) -> None:
    assert [one["words"] for one in two] == [((3, 4, 0), [0, 10]), ((3, 4, 0), [])]


def test_a_process_that_ends_is_noticed(tmp_path: Path) -> None:
    ended = run_several(ends_alone, [[], []], slurm(2), tmp_path)
    assert [one.code for one in ended] == [6, 5], [one.err for one in ended]


@given(size=st.integers(1, 40), accumulation=st.integers(1, 50), n=st.integers(1, 9))
def test_each_image_of_a_batch_counts_in_one_process(size: int, accumulation: int, n: int) -> None:
    parts = parts_of(size, accumulation)
    assert [low for low, _ in parts] == [0, *(high for _, high in parts[:-1])]
    assert parts[-1][1] == size
    counted = list[int]()
    for rank in range(n):
        one = Processes(rank=rank, size=n)
        places = one.places(size, accumulation).tolist()
        for low, high in parts:
            share = one.share(high - low)
            own, places = places[: share.n], places[share.n :]
            assert own == list(range(low, high))[share.places]
            assert len(own) == share.n > 0
            counted += own[: share.n_counted]
        assert not places
    assert sorted(counted) == list(range(size))


def test_norms_are_as_they_were_outside_the_pass() -> None:
    model = network(norms=True)
    norms = WholeBatchNorms(model)
    with norms.over_all(counted=True):
        assert "forward" in model[1].__dict__
    assert "forward" not in model[1].__dict__


def test_an_unknown_kind_of_batch_normalisation_is_refused() -> None:
    class Own(nn.BatchNorm2d):
        pass

    with pytest.raises(InputError, match="cannot be taken over several processes"):
        WholeBatchNorms(nn.Sequential(Own(3)))
