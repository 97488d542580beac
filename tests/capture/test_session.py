"""What a session makes of a training, as a `Case`."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.transforms import v2

from everyclass.capture.assemble import case_of, nothing_watched, watched_of
from everyclass.capture.patches import Patches
from everyclass.capture.session import Session, StoppedRun
from everyclass.diagnosis.case import Case
from everyclass.findings import Finding


class Watching:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.patches = Patches(session)
        self.patches.install()

    def end(self) -> Case | None:
        self.session.end()
        self.patches.remove()
        assert self.session.failure is None
        return case_of(self.session, self.patches.originals)


@pytest.fixture
def watching() -> Iterator[Watching]:
    found = Watching(Session())
    yield found
    found.patches.remove()


def batches(count: int, *, n: int = 8) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(n, 6, generator=generator), torch.randint(0, 3, (n,), generator=generator))
        for _ in range(count)
    ]


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    count: int = 5,
) -> list[tuple[Tensor, Tensor]]:
    used = batches(count)
    for inputs, targets in used:
        optimizer.zero_grad()
        loss_of(model(inputs), targets).backward()
        optimizer.step()
    return used


def test_labels_that_are_all_the_same_for_an_epoch_are_a_fact(watching: Watching) -> None:
    data = [(torch.randn(6), torch.tensor(0)) for _ in range(64)]
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for inputs, targets in DataLoader(data, batch_size=8):  # type: ignore[arg-type]
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    assert [one.evidence["cause"] for one in watching.session.findings] == ["labels-out-of-range"]


def test_a_sorted_epoch_has_more_labels_than_one(watching: Watching) -> None:
    data = [(torch.randn(6), torch.tensor(i // 60)) for i in range(180)]
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for inputs, targets in DataLoader(data, batch_size=8):  # type: ignore[arg-type]
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    assert watching.session.findings == []


def test_a_case_holds_what_checks_and_trials_need(watching: Watching) -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    weight = torch.tensor([1.0, 2.0, 3.0])
    used = train(model, optimizer, nn.CrossEntropyLoss(weight=weight))
    schedule.step()
    used += train(model, optimizer, nn.CrossEntropyLoss(weight=weight), count=1)
    case = watching.end()
    assert case is not None
    assert case.model is model
    assert case.optimizers == (optimizer,)
    assert (case.n_classes, case.steps, case.forwards) == (3, 6, 6)
    assert case.loss is not None
    assert case.loss.weight is weight
    assert case.rates == ((0, 0.1), (5, 0.05))
    assert case.gradients_cleared is True
    assert len(case.gradient_norms) == 6
    assert case.call_sites["model"].startswith("tests/capture/test_session.py:")
    assert set(case.call_sites) == {"model", "optimizer", "loss"}
    for batch, (inputs, targets) in zip(case.batches, used):
        assert torch.equal(batch.args[0], inputs)
        assert batch.args[0] is not inputs
        assert batch.targets is not None
        assert torch.equal(batch.targets, targets)
        assert batch.model_training is True
    assert case.label_counts == tuple(
        tuple(torch.bincount(targets, minlength=3).tolist()) for _, targets in used
    )
    assert case.initial_state is not None
    assert all(torch.equal(case.initial_state[name], value) for name, value in before.items())
    # The first loss again: the first batch, the first weights, the loss with its weights.
    model.load_state_dict(dict(case.initial_state))
    assert case.loss_function is not None
    first = case.batches[0]
    assert first.targets is not None
    again = case.loss_function(model(*first.args), first.targets)
    assert again.item() == first.loss
    assert not model._forward_hooks


def test_a_loss_behind_log_softmax_is_found_from_the_models_output(watching: Watching) -> None:
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train(model, optimizer, lambda out, y: F.nll_loss(F.log_softmax(out, dim=1), y))
    case = watching.end()
    assert case is not None
    assert case.loss_function is not None
    assert case.loss is not None
    assert case.loss.name == "nll_loss"
    output, targets = torch.randn(7, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    assert torch.allclose(case.loss_function(output, targets), F.cross_entropy(output, targets))


def test_the_main_head_is_watched_and_the_auxiliary_one_said(watching: Watching) -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.auxiliary = nn.Linear(6, 3), nn.Linear(6, 3)

        def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
            return self.main(inputs), self.auxiliary(inputs)

    model = Heads()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train(
        model,
        optimizer,
        lambda out, y: 0.4 * F.cross_entropy(out[1], y) + F.cross_entropy(out[0], y),  # type: ignore[index]
    )
    case = watching.end()
    assert case is not None
    assert case.forwards == 5
    expected = model.main(case.batches[-1].args[0])
    assert case.batches[-1].outputs is not None
    assert case.batches[-1].outputs.shape == expected.shape
    assert any("on its first output" in note for note in watched_of(watching.session).notes)


def test_an_optimizer_of_another_instance_is_said(watching: Watching) -> None:
    model, other = nn.Linear(6, 3), nn.Linear(6, 3)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    train(model, optimizer, F.cross_entropy)
    case = watching.end()
    assert case is not None
    assert case.model is model
    assert case.optimizers == (optimizer,)
    assert case.forwards == case.steps == 5
    assert all(batch.args for batch in case.batches)
    assert any(
        "holds none of the parameters" in note for note in watched_of(watching.session).notes
    )


def test_a_network_called_by_its_parts_is_named_whole(watching: Watching) -> None:
    model = nn.ModuleDict({"body": nn.Linear(6, 4), "head": nn.Linear(4, 3)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for inputs, targets in batches(4):
        optimizer.zero_grad()
        F.cross_entropy(model["head"](model["body"](inputs)), targets).backward()
        optimizer.step()
    case = watching.end()
    assert case is not None
    assert case.model is model
    assert case.forwards == 4
    assert any("called one by one" in note for note in watched_of(watching.session).notes)


def test_a_second_optimizer_on_the_same_network_goes_on_counting(watching: Watching) -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3))
    train(model, torch.optim.SGD(model[1].parameters(), lr=0.1), F.cross_entropy, count=3)
    train(model, torch.optim.SGD(model.parameters(), lr=0.01), F.cross_entropy, count=2)
    case = watching.end()
    assert case is not None
    assert case.steps == case.forwards == 5
    assert case.rates == ((0, 0.1), (3, 0.01))


def test_a_loss_that_raises_leaves_its_batch(watching: Watching) -> None:
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert optimizer
    with pytest.raises(IndexError):
        F.cross_entropy(model(torch.ones(2, 6)), torch.tensor([1, 3]))
    case = watching.end()
    assert case is not None
    assert case.model is model
    assert [one.targets.tolist() for one in case.batches if one.targets is not None] == [[1, 3]]


def test_an_autoencoder_with_labels_beside_is_not_taken_for_a_classifier(
    watching: Watching,
) -> None:
    model = nn.Linear(6, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = torch.utils.data.TensorDataset(torch.randn(16, 6), torch.tensor([0, 1] * 8))
    for inputs, _ in torch.utils.data.DataLoader(data, batch_size=4):
        optimizer.zero_grad()
        F.l1_loss(model(inputs), inputs).backward()
        optimizer.step()
    assert watching.end() is None
    assert "Nothing was watched" in nothing_watched(watching.session, ("jax",))
    assert "It loaded jax." in nothing_watched(watching.session, ("jax",))


def test_an_alarm_ends_the_script_in_the_step_that_raised_it() -> None:
    told: list[Finding] = []
    watching = Watching(Session(on_alarm=told.append, stop_on_collapse=True))
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    try:
        with pytest.raises(StoppedRun) as stop:
            train(model, optimizer, lambda out, y: F.cross_entropy(out * torch.nan, y), count=200)
    finally:
        watching.patches.remove()
    assert stop.value.code == 1
    assert "diverged" in stop.value.reason
    assert [one.id for one in told] == ["diverged"]
    assert told[0].severity == "alarm"


@pytest.mark.parametrize(
    ("targets", "reduction", "told"),
    [
        (torch.arange(8.0) % 6, "mean", True),
        (torch.arange(8.0) % 2, "mean", False),
        (torch.full((8,), 1.2), "mean", False),  # one-sided smoothing of a discriminator
        (torch.arange(8.0) % 6, "none", False),  # may be masked afterwards
    ],
)
def test_class_ids_for_a_binary_loss_are_a_fact(
    targets: Tensor, reduction: str, told: bool, watching: Watching
) -> None:
    model = nn.Linear(6, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(
            model(torch.randn(8, 6))[:, 0], targets, reduction=reduction
        )
        loss.mean().backward()
        optimizer.step()
    watching.end()
    found = watching.session.findings
    assert [one.evidence["largest_target"] for one in found] == ([5] if told else [])
    assert [one.id for one in found] == (["diverged"] if told else [])


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("shape", [(8, 1), (8,)])
def test_targets_that_are_spread_are_a_fact(shape: tuple[int, ...], watching: Watching) -> None:
    model = nn.Linear(6, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    targets = (torch.arange(8.0) % 2).reshape(shape)
    for _ in range(4):
        optimizer.zero_grad()
        F.mse_loss(model(torch.randn(8, 6)), targets).backward()
        optimizer.step()
    watching.end()
    causes = [one.evidence["cause"] for one in watching.session.findings]
    assert causes == (["targets-broadcast"] if shape == (8,) else [])


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(
    ("targets", "told"),
    [
        (torch.arange(8) % 5, True),
        (torch.arange(8) / 8, False),  # numbers to be regressed, the same for each output
        (torch.arange(8) % 2, False),  # a flag
        (torch.arange(8), False),  # counts: there are no seven classes
    ],
)
def test_ids_spread_over_columns_of_scores_are_a_fact(
    targets: Tensor, told: bool, watching: Watching
) -> None:
    model = nn.Linear(6, 5)
    for _ in range(2):  # no step is needed
        F.mse_loss(model(torch.randn(8, 6)), targets.float()[:, None]).backward()
    watching.end()
    found = [(one.id, one.evidence["cause"]) for one in watching.session.findings]
    assert found == ([("not-learning", "targets-broadcast")] if told else [])


class Scaled(Dataset[tuple[Tensor, int]]):
    def __init__(self, transform: Callable[[Tensor], Tensor]) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(torch.rand(1, 4, 4) + index % 3), index % 3


def test_a_case_knows_where_loader_and_scaling_were_built(watching: Watching) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    transform = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.2])])
    loader = DataLoader(Scaled(transform), batch_size=4)
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    case = watching.end()
    assert case is not None
    lines = {name: int(site.rpartition(":")[2]) for name, site in case.call_sites.items()}
    assert lines["transform"] == lines["optimizer"] + 1
    assert lines["loader"] == lines["optimizer"] + 2


@pytest.mark.parametrize("buffers", [False, True])
def test_an_average_evaluated_with_the_statistics_of_the_start(
    watching: Watching, buffers: bool
) -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    average = copy.deepcopy(model)
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), F.cross_entropy, count=30)
    average.eval()
    with torch.no_grad():
        for mine, other in zip(average.parameters(), model.parameters()):
            mine.lerp_(other, 0.9)
        if buffers:
            for mine, other in zip(average.buffers(), model.buffers()):
                mine.copy_(other)
        for _ in range(3):
            F.cross_entropy(average(torch.randn(20, 6)), torch.randint(0, 3, (20,)))
    causes = [one.evidence["cause"] for one in watching.session.findings]
    assert causes == ([] if buffers else ["batchnorm-mismatch"])
    assert not average._forward_hooks


@pytest.mark.parametrize("buffers", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_an_average_that_answers_without_a_loss_is_looked_at_too(
    watching: Watching, buffers: bool, last: bool
) -> None:
    images, labels = torch.randn(120, 6), torch.randint(0, 3, (120,))
    loader = DataLoader(TensorDataset(images, labels), batch_size=4)
    held_out = DataLoader(TensorDataset(images[:20], labels[:20]), batch_size=20)
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    average = copy.deepcopy(model).eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(1 if last else 2):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            with torch.no_grad():
                for mine, other in zip(average.parameters(), model.parameters()):
                    mine.lerp_(other, 0.1)
                if buffers:
                    for mine, other in zip(average.buffers(), model.buffers()):
                        mine.copy_(other)
        with torch.no_grad():
            for inputs, _ in held_out:
                average(inputs).argmax(1)
    watching.end()
    causes = [one.evidence["cause"] for one in watching.session.findings]
    assert causes == ([] if buffers else ["batchnorm-mismatch"])


def test_a_copy_that_nobody_evaluates_is_left_alone(watching: Watching) -> None:
    images, labels = torch.randn(120, 6), torch.randint(0, 3, (120,))
    loader = DataLoader(TensorDataset(images, labels), batch_size=4)
    held_out = DataLoader(TensorDataset(images[:20], labels[:20]), batch_size=20)
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    average = copy.deepcopy(model).eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            with torch.no_grad():
                for mine, other in zip(average.parameters(), model.parameters()):
                    mine.lerp_(other, 0.1)
        model.eval()
        with torch.no_grad():
            for inputs, _ in held_out:
                model(inputs).argmax(1)
    watching.end()
    assert not watching.session.findings


def test_class_weights_multiplied_in_by_hand_are_part_of_the_case(watching: Watching) -> None:
    weight = torch.tensor([0.3, 0.6, 2.1])
    model = nn.Linear(6, 3)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        rows = F.cross_entropy(outputs, targets, reduction="none")
        each = torch.tensor([float(weight[k]) for k in targets])  # not seen by who looks at torch
        return (rows * each).sum() / each.sum()

    train(model, torch.optim.SGD(model.parameters(), lr=0.1), loss, count=12)
    case = watching.end()
    assert case is not None
    assert case.loss is not None
    assert case.loss.weight is not None
    assert torch.allclose(case.loss.weight, weight, atol=0.1)
    assert case.answers_reached is True
    output, targets = torch.randn(7, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    assert case.loss_function is not None
    assert torch.allclose(case.loss_function(output, targets), loss(output, targets), atol=0.05)


def test_an_evaluation_whose_answers_are_joined_and_judged_at_once_is_kept(
    watching: Watching,
) -> None:
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    images, labels = torch.randn(20, 6), torch.randint(0, 3, (20,))
    for inputs, targets in batches(4):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
        with torch.no_grad():
            answers = torch.cat([model(part) for part in images.split(8)])
            F.cross_entropy(answers, labels)
    case = watching.end()
    assert case is not None
    assert [len(one.args[0]) for one in case.evaluation[-3:]] == [4, 8, 8]  # the last one first
    for one in case.evaluation:
        rows = [int((images == row).all(dim=1).nonzero()[0, 0]) for row in one.args[0]]
        assert one.targets is not None
        assert torch.equal(one.targets, labels[rows])


def test_inputs_that_ask_for_a_gradient_where_nothing_else_trains_are_no_attack(
    watching: Watching,
) -> None:
    model = nn.Linear(6, 3)
    model.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for inputs, targets in batches(6):
        optimizer.zero_grad()
        inputs.requires_grad_()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    case = watching.end()
    assert case is not None
    assert len(case.batches) == 6


def test_a_second_optimizer_is_known_after_its_function_has_ended(watching: Watching) -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))

    def script() -> None:
        *body, weight, bias = model.parameters()
        first = torch.optim.SGD(body, lr=0.1)
        second = torch.optim.SGD([weight, bias], lr=0.1)
        for inputs, targets in batches(5):
            first.zero_grad()
            second.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            first.step()
            second.step()

    script()
    gc.collect()
    case = watching.end()
    assert case is not None
    assert [len(one.param_groups[0]["params"]) for one in case.optimizers] == [2, 2]


def test_weights_that_the_loss_learns_are_no_sign_of_gradients_that_add_up(
    watching: Watching,
) -> None:
    model, weights = nn.Linear(6, 3), nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([*model.parameters(), weights], lr=0.01)
    for inputs, targets in batches(12):
        losses = F.cross_entropy(model(inputs), targets, reduction="none")
        optimizer.zero_grad()
        (weights[targets] * losses).mean().backward()
        optimizer.step()
    case = watching.end()
    assert case is not None
    assert case.gradients_cleared


def test_class_weights_of_the_latest_call_count(watching: Watching) -> None:
    """Deferred weights are put in when most of the training is over."""
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train(model, optimizer, lambda out, y: F.cross_entropy(out, y, weight=torch.ones(3)))
    late = torch.tensor([1.0, 2.0, 8.0])
    train(model, optimizer, lambda out, y: F.cross_entropy(out, y, weight=late))
    case = watching.end()
    assert case is not None
    assert case.loss is not None
    assert case.loss.weight is late


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))


def test_checkpoints_loaded_before_the_first_step_are_remembered(watching: Watching) -> None:
    model = nn.Sequential(net(), nn.Identity())
    other = {f"module.{name}": one for name, one in net().state_dict().items()}
    part = model[0]
    part.load_state_dict({"epoch": 1, "state_dict": other}, strict=False)
    with pytest.raises(RuntimeError, match="Missing key"):
        net().load_state_dict(other)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train(model, optimizer, F.cross_entropy)
    part.load_state_dict({}, strict=False)  # later ones begin nothing
    case = watching.end()
    assert case is not None
    (load,) = case.loads
    assert (load.place, load.taken, load.own) == ("0", 0.0, False)
    assert load.tensors.keys() == other.keys()
    assert load.site.startswith("tests/capture/test_session.py:")
    assert nn.Module.load_state_dict.__qualname__ == "Module.load_state_dict"


def test_a_network_that_was_loaded_and_left_is_not_kept_alive(watching: Watching) -> None:
    passing = net()
    passing.load_state_dict(
        {f"module.{name}": one for name, one in net().state_dict().items()}, strict=False
    )
    left = weakref.ref(passing)
    del passing
    gc.collect()
    assert left() is None
    model = net()
    model.load_state_dict(net().state_dict())
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), F.cross_entropy)
    case = watching.end()
    assert case is not None
    assert [one.taken for one in case.loads] == [1.0]


@pytest.mark.parametrize("assign", [False, True])
def test_a_checkpoint_that_fits_is_not_kept(watching: Watching, assign: bool) -> None:
    model = net()
    state = net().state_dict()
    state.pop("2.bias")
    told = model.load_state_dict(state, strict=False, assign=assign)
    assert told.missing_keys == ["2.bias"]
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), F.cross_entropy)
    case = watching.end()
    assert case is not None
    (load,) = case.loads
    assert (load.taken, load.own, load.tensors) == (1.0, False, {})


def test_own_weights_that_are_given_back_are_seen_as_such(watching: Watching) -> None:
    model = net()
    other = {f"module.{name}": one for name, one in net().state_dict().items()}
    own = model.state_dict()
    own.update({name: one for name, one in other.items() if name in own})
    model.load_state_dict(own)
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), F.cross_entropy)
    case = watching.end()
    assert case is not None
    assert [(one.taken, one.own) for one in case.loads] == [(1.0, True)]
