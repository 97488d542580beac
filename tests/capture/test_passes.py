"""Where scores and targets are found, and what is refused: small models, called by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everyclass.capture.losses import Reading
from everyclass.capture.passes import Lookup, PassFinder, Stage
from everyclass.errors import InputError

B, C = 16, 4


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


class Two(NamedTuple):
    logits_of_image: Tensor
    auxiliary: Tensor


class Net(nn.Module):
    """Features, a head, and whatever is done with its output."""

    def __init__(self, finish: Callable[[Tensor], Any] = lambda z: z, columns: int = C) -> None:
        super().__init__()
        self.backbone = nn.Linear(6, 8)
        self.head = nn.Linear(8, columns)
        self.finish = finish
        self.criterion = nn.CrossEntropyLoss(ignore_index=0)

    def forward(self, inputs: Tensor) -> Any:
        return self.finish(self.head(self.backbone(inputs).relu()))


def _batch(columns: int = C) -> tuple[Tensor, Tensor]:
    return torch.randn(B, 6), torch.randint(0, max(columns, 2), (B,))


def _find(
    finder: PassFinder,
    net: nn.Module,
    batch: Any,
    loss: Callable[[Any], Tensor] | None = None,
    *,
    stage: Stage = "training",
    returned: Any = None,
) -> tuple[Reading | None, Any]:
    finder.begins(stage)
    inputs = batch["inputs"] if isinstance(batch, dict) else batch[0]
    output = net(inputs)
    value = None if loss is None else loss(output).detach()
    return finder.found(stage, batch, returned=returned, loss=value), output


def test_output_of_the_model_and_ids_of_the_batch() -> None:
    net, batch = Net(), _batch()
    finder = PassFinder(net, lookup=Lookup())
    for _ in range(3):
        reading, output = _find(finder, net, batch, lambda z: F.cross_entropy(z, batch[1]))
        assert reading is not None
        assert torch.equal(reading.scores, output)
        assert torch.equal(reading.targets, batch[1])
        assert reading.kind == "logits"
    hooked = [name for name, one in net.named_modules() if one._forward_hooks]
    assert hooked == [""]
    finder.close()
    assert not net._forward_hooks
    assert not net._forward_pre_hooks


def test_the_loss_tells_targets_from_other_ids() -> None:
    """An index that could be a class comes first in the batch; the loss knows better."""
    net = Net()
    inputs, targets = _batch()
    batch = {"inputs": inputs, "site": torch.zeros(B, dtype=torch.long), "kind": targets}
    finder = PassFinder(net, lookup=Lookup())
    reading, _ = _find(finder, net, batch, lambda z: F.cross_entropy(z, targets))
    assert reading is not None
    assert torch.equal(reading.targets, targets)


def test_the_loss_tells_logits_from_probabilities() -> None:
    """The model ends in a softmax. Whether that is its loss's wish or the fault, the loss tells."""
    batch = _batch()
    own = batch[1][:, None]
    for loss, kind in (
        (lambda p: F.cross_entropy(p, batch[1]), "logits"),
        (lambda p: -p.gather(1, own).log().mean(), "probabilities"),
    ):
        net = Net(lambda z: z.softmax(1))
        reading, output = _find(PassFinder(net, lookup=Lookup()), net, batch, loss)
        assert reading is not None
        assert reading.kind == kind
        assert torch.equal(reading.scores, output)


@pytest.mark.parametrize("wide", [True, False])
def test_one_sigmoid_unit_becomes_two_columns(wide: bool) -> None:
    batch = _batch(1)
    shape = (B, 1) if wide else (B,)
    net = Net(lambda z: z.reshape(shape).sigmoid(), columns=1)
    truth = batch[1].float().reshape(shape)
    finder = PassFinder(net, lookup=Lookup())
    reading, p = _find(finder, net, batch, lambda p: F.binary_cross_entropy(p, truth))
    assert reading is not None
    assert reading.scores.softmax(1)[:, 1] == pytest.approx(p.detach().flatten(), rel=1e-5)
    assert torch.equal(reading.targets, batch[1])


def test_one_unit_without_a_loss_is_asked_for() -> None:
    batch = _batch(1)
    net = Net(lambda z: z.sigmoid(), columns=1)
    with pytest.raises(InputError, match=r"one output, all of it in \[0, 1\]"):
        _find(PassFinder(net, lookup=Lookup()), net, batch)
    finder = PassFinder(net, lookup=Lookup(kind="probabilities"))
    reading, p = _find(finder, net, batch)
    assert reading is not None
    assert torch.equal(reading.scores.argmax(1), (p.flatten() > 0.5).long())


def test_one_hot_targets_of_a_squared_loss_are_scores() -> None:
    inputs, ids = _batch()
    batch = (inputs, F.one_hot(ids, C).float())
    net = Net()
    finder = PassFinder(net, lookup=Lookup())
    reading, _ = _find(finder, net, batch, lambda z: F.mse_loss(z, batch[1]))
    assert reading is not None
    assert reading.kind == "scores"
    assert torch.equal(reading.targets, ids)


def test_loss_module_goes_first_with_its_ignored_class() -> None:
    net, batch = Net(), _batch()
    finder = PassFinder(net, lookup=Lookup())
    finder.begins("training")
    net.criterion(net(batch[0]), batch[1])
    reading = finder.found("training", batch)
    assert reading is not None
    assert torch.equal(reading.targets, torch.where(batch[1] == 0, -100, batch[1]))


def test_head_called_without_the_model() -> None:
    net, batch = Net(), _batch()
    finder = PassFinder(net, lookup=Lookup())
    finder.begins("training")
    logits = net.head(net.backbone(batch[0]).relu())
    loss = 0.5 * F.cross_entropy(logits, batch[1])  # reproduced by no pair
    reading = finder.found("training", batch, loss=loss)
    assert reading is not None
    assert torch.equal(reading.scores, logits)


def test_first_of_several_outputs_and_named_logits() -> None:
    batch = _batch()
    for finish in (
        lambda z: Two(z, z[:, :2]),
        lambda z: {"hidden": z + 1, "logits": z},
        lambda z: (z.sum(), z),
    ):
        net = Net(finish)
        reading, _ = _find(PassFinder(net, lookup=Lookup()), net, batch)
        assert reading is not None
        assert torch.equal(reading.scores, net.head(net.backbone(batch[0]).relu()))


def test_logits_returned_by_the_step_go_before_outputs() -> None:
    net, batch = Net(), _batch()
    told = torch.randn(B, C)
    reading, _ = _find(
        PassFinder(net, lookup=Lookup()), net, batch, returned={"loss": told.sum(), "logits": told}
    )
    assert reading is not None
    assert torch.equal(reading.scores, told)


def test_what_is_said_is_taken() -> None:
    net = Net(lambda z: (z, z * 2))
    inputs, ids = _batch()
    batch = {"inputs": inputs, "where": {"a": ids, "b": ids * 0}}
    lookup = Lookup(logits=lambda out: out[1], targets=lambda one: one["where"]["b"], kind="scores")
    reading, output = _find(PassFinder(net, lookup=lookup), net, batch)
    assert reading is not None
    assert torch.equal(reading.scores, output[1])
    assert int(reading.targets.sum()) == 0
    assert reading.kind == "scores"
    lookup = Lookup(module="backbone", targets=lambda one: one["where"]["a"])
    reading, _ = _find(PassFinder(net, lookup=lookup), net, batch)
    assert reading is not None
    assert reading.scores.shape == (B, 8)


def test_wrapper_that_runs_the_step_through_the_model_counts_once() -> None:
    """As Lightning's distributed strategies do: the outer call is the whole training step."""
    net, batch = Net(), _batch()
    forward = net.forward

    def step(inputs: Tensor) -> Tensor:
        net.forward = forward  # type: ignore[method-assign]
        return F.cross_entropy(net(inputs), batch[1])

    finder = PassFinder(net, lookup=Lookup(logits=lambda out: out[:, :C]))
    finder.begins("training")
    net.forward = step  # type: ignore[method-assign]
    net(batch[0])
    reading = finder.found("training", batch)
    assert reading is not None
    assert reading.scores.shape == (B, C)


def test_nothing_that_fits_is_an_error_with_what_was_seen() -> None:
    net = Net(lambda z: z.sum())
    with pytest.raises(InputError) as error:
        _find(PassFinder(net, lookup=Lookup(module="")), net, (torch.randn(B, 6), torch.randn(B)))
    assert "Net ()" in error.value.what
    assert "[0] (16, 6), [1] (16,)" in error.value.what
    assert "targets=a function of the batch" in error.value.remedy


def test_unknown_submodule_is_an_error() -> None:
    with pytest.raises(InputError, match="Its children are: backbone, head, criterion"):
        PassFinder(Net(), lookup=Lookup(module="fc"))


def test_pass_that_does_not_fit_later_is_skipped() -> None:
    net, batch = Net(), _batch()
    finder = PassFinder(net, lookup=Lookup())
    assert _find(finder, net, batch)[0] is not None
    assert _find(finder, net, (batch[0], batch[1][:-1]))[0] is None
    assert finder.skipped == 1
    assert _find(finder, net, batch)[0] is not None


def test_replicas_and_copies_are_not_taken_for_the_model() -> None:
    import copy

    net, batch = Net(), _batch()
    finder = PassFinder(net, lookup=Lookup())
    assert _find(finder, net, batch)[0] is not None
    finder.begins("training")
    copy.deepcopy(net)(batch[0])
    assert finder.root_call() is None
