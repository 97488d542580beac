"""What calls of torch's losses say about classes."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from everyclass.capture.losses import (
    Reading,
    bind_loss,
    find_transform,
    loss_function,
    read_loss,
)
from everyclass.diagnosis.case import LossName


def read(name: LossName, inputs: Tensor, targets: Tensor, **options: object) -> Reading | str:
    call = bind_loss(name, (inputs, targets), options)
    assert call is not None
    return read_loss(call, look=True)


def reading(name: LossName, inputs: Tensor, targets: Tensor, **options: object) -> Reading:
    found = read(name, inputs, targets, **options)
    assert isinstance(found, Reading), found
    return found


LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def test_class_ids_pass_as_they_are() -> None:
    found = reading("cross_entropy", LOGITS, torch.tensor([0, 1]))
    assert torch.equal(found.scores, LOGITS)
    assert found.targets.tolist() == [0, 1]
    assert found.kind == "logits"
    assert reading("multi_margin_loss", LOGITS, torch.tensor([0, 1])).kind == "scores"


def test_an_ignored_id_inside_the_range_does_not_count() -> None:
    found = reading("nll_loss", LOGITS, torch.tensor([0, 1]), ignore_index=0)
    assert found.targets.tolist() == [-100, 1]


def test_soft_targets_count_for_their_largest_class() -> None:
    soft = torch.tensor([[0.1, 0.2, 0.7], [0.9, 0.1, 0.0]])
    assert reading("cross_entropy", LOGITS, soft).targets.tolist() == [2, 0]


def test_one_image_and_maps_of_one_pixel_are_images() -> None:
    assert reading("cross_entropy", LOGITS[0], torch.tensor(2)).targets.tolist() == [2]
    found = reading("cross_entropy", LOGITS[:, :, None, None], torch.tensor([[[0]], [[1]]]))
    assert torch.equal(found.scores, LOGITS)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_single_unit_becomes_two_columns(shape: tuple[int, ...]) -> None:
    # sigmoid(z) = softmax([0, z])[1]
    z = torch.tensor([-1.0, 3.0]).reshape(2, *shape)
    y = torch.tensor([0.0, 1.0]).reshape(2, *shape)
    for name, inputs in (
        ("binary_cross_entropy_with_logits", z),
        ("binary_cross_entropy", z.sigmoid()),
    ):
        found = reading(name, inputs, y)  # type: ignore[arg-type]
        assert torch.allclose(found.scores.softmax(1)[:, 1], z.sigmoid().reshape(-1), atol=1e-6)
        assert found.targets.tolist() == [0, 1]
        assert found.kind == "logits"


def test_a_squared_loss_on_zeros_and_ones_is_cut_at_a_half() -> None:
    found = reading("mse_loss", torch.tensor([[0.4], [0.6]]), torch.tensor([1.0, 0.0]))
    assert found.scores.argmax(1).tolist() == [0, 1]
    assert found.targets.tolist() == [1, 0]
    assert found.kind == "scores"


@pytest.mark.parametrize(
    "name", ["mse_loss", "binary_cross_entropy_with_logits", "binary_cross_entropy"]
)
def test_one_hot_rows_are_class_ids(name: LossName) -> None:
    found = reading(name, LOGITS.sigmoid(), F.one_hot(torch.tensor([2, 0]), 3).float())
    assert found.targets.tolist() == [2, 0]
    assert found.kind == "scores"


@pytest.mark.parametrize(
    ("name", "inputs", "targets", "reason"),
    [
        ("cross_entropy", torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4).long(), "a pixel"),
        ("binary_cross_entropy", torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4), "a pixel"),
        ("cross_entropy", torch.zeros(2, 1), torch.zeros(2).long(), "one output column"),
        ("cross_entropy", torch.zeros(0, 3), torch.zeros(0).long(), "empty batch"),
        ("cross_entropy", torch.zeros(3, 3), torch.zeros(2).long(), "3 rows of outputs and 2"),
        ("mse_loss", torch.zeros(2, 3), torch.rand(2, 3), "not one-hot"),
        ("mse_loss", torch.zeros(2), torch.tensor([0.3, 5.0]), "numbers, not classes"),
        (
            "binary_cross_entropy_with_logits",
            torch.zeros(2, 3),
            torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]),
            "several labels",
        ),
    ],
)
def test_what_is_not_about_classes_says_why(
    name: LossName, inputs: Tensor, targets: Tensor, reason: str
) -> None:
    found = read(name, inputs, targets)
    assert isinstance(found, str)
    assert reason in found


def test_tensors_that_must_not_outlive_their_call_are_left_alone() -> None:
    seen = []

    def loss(x: Tensor) -> Tensor:
        seen.append(bind_loss("cross_entropy", (x, torch.tensor([0, 1])), {}))
        return F.cross_entropy(x, torch.tensor([0, 1]))

    torch.func.grad(loss)(LOGITS)
    assert seen == [None]


def test_the_arguments_are_kept_by_name() -> None:
    weight = torch.ones(3)
    call = bind_loss(
        "cross_entropy",
        (LOGITS, torch.tensor([0, 1]), weight),
        {"label_smoothing": 0.1, "reduction": "sum", "size_average": None},
    )
    assert call is not None
    spec = call.spec()
    assert spec.weight is weight
    assert (spec.label_smoothing, spec.reduction, spec.ignore_index) == (0.1, "sum", -100)
    again = loss_function(call, F.cross_entropy)(LOGITS, torch.tensor([0, 1]))
    expected = F.cross_entropy(
        LOGITS, torch.tensor([0, 1]), weight, label_smoothing=0.1, reduction="sum"
    )
    assert torch.equal(again, expected)


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("", LOGITS),
        ("log_softmax", LOGITS.log_softmax(1)),
        ("softmax", LOGITS.softmax(1)),
        ("sigmoid", LOGITS.sigmoid()),
    ],
)
def test_what_lies_between_model_and_loss_is_recognised(name: str, inputs: Tensor) -> None:
    found = find_transform(LOGITS, inputs)
    assert found is not None
    assert found[0] == name
    more = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert found[1](more).shape == (5, 3)


def test_a_squeezed_column_is_recognised_and_something_else_is_not() -> None:
    column = torch.tensor([[1.0], [2.0]])
    found = find_transform(column, column[:, 0])
    assert found is not None
    assert found[1](torch.zeros(7, 1)).shape == (7,)
    assert find_transform(LOGITS, LOGITS * math.pi) is None
