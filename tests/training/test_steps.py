from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from everyclass.imbalance.mixing import Mixed, mixup
from everyclass.models.classifier import Classifier, Preprocessing
from everyclass.training.averaging import MovingAverage
from everyclass.training.batches import Batch
from everyclass.training.fabric import Fabric
from everyclass.training.optim import build_optimizer
from everyclass.training.steps import Mix, StepResult, steps

FABRIC = Fabric(accelerator="cpu", devices=1)
PLAIN = Preprocessing(side=8, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def classifier(dropout: float = 0.0) -> Classifier:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(3 * 64, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3)
    )
    return Classifier(network, PLAIN)


def batches(first: int, last: int, size: int = 6) -> Iterator[Batch]:
    for step in range(first, last):
        generator = torch.Generator().manual_seed(step)
        yield Batch(
            step=step,
            rows=np.arange(size),
            images=torch.randint(0, 256, (size, 3, 8, 8), dtype=torch.uint8, generator=generator),
            targets=torch.randint(0, 3, (size,), generator=generator),
        )


def run(
    model: Classifier,
    optimizer: torch.optim.Optimizer,
    first: int = 0,
    last: int = 5,
    *,
    accumulation: int = 1,
    clip_norm: float = 0.0,
    augmentation: tuple[str, ...] = (),
    average: MovingAverage | None = None,
    mix: Mix | None = None,
) -> list[StepResult]:
    wrapped, wrapped_optimizer = FABRIC.setup(model, optimizer)
    return list(
        steps(
            wrapped,
            wrapped_optimizer,
            batches(first, last),
            functional.cross_entropy,
            fabric=FABRIC,
            rate=lambda step: 0.1 / (step + 1),
            seed=3,
            accumulation=accumulation,
            clip_norm=clip_norm,
            augmentation=augmentation,
            mix=mix,
            average=average,
        )
    )


def sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_equals_a_loop_written_out() -> None:
    """Oracle: the same training without Fabric, without our loop."""
    ours, plain = classifier(), classifier()
    results = run(ours, sgd(ours))
    optimizer = sgd(plain)
    for batch, result in zip(batches(0, 5), results):
        optimizer.param_groups[0]["lr"] = 0.1 / (batch.step + 1)
        loss = functional.cross_entropy(plain(batch.images), batch.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert float(result.loss) == float(loss.detach())
        assert result.learning_rate == 0.1 / (batch.step + 1)
    assert torch.equal(weights(ours), weights(plain))


@pytest.mark.parametrize("accumulation", [2, 3, 6, 50])
def test_accumulation_changes_nothing_but_rounding(accumulation: int) -> None:
    whole, parts = classifier(), classifier()
    first = run(whole, sgd(whole))
    second = run(parts, sgd(parts), accumulation=accumulation)
    torch.testing.assert_close(weights(whole), weights(parts), rtol=1e-5, atol=1e-6)
    for one, other in zip(first, second):
        torch.testing.assert_close(one.loss, other.loss)
        torch.testing.assert_close(one.logits, other.logits, rtol=1e-4, atol=1e-5)


def test_split_in_two_equals_one_run_bit_for_bit() -> None:
    """Dropout and augmentation draw from streams named by the step."""
    augmentation = ("crop", "flip", "rotation")
    whole, halves = classifier(0.5), classifier(0.5)
    run(whole, sgd(whole), 0, 6, augmentation=augmentation)
    optimizer = sgd(halves)
    run(halves, optimizer, 0, 2, augmentation=augmentation)
    torch.manual_seed(1234)
    run(halves, optimizer, 2, 6, augmentation=augmentation)
    assert torch.equal(weights(whole), weights(halves))


def test_half_of_the_batches_are_mixed_and_their_targets_with_them() -> None:
    seen: list[int] = []

    def mix(inputs: Tensor, targets: Tensor, generator: torch.Generator) -> Mixed:
        seen.append(int(targets.sum()))
        return mixup(inputs, targets, n_classes=3, generator=generator)

    plain_model, mixed_model = classifier(), classifier()
    plain = run(plain_model, sgd(plain_model), last=40)
    mixed = run(mixed_model, sgd(mixed_model), last=40, mix=mix)
    assert 10 <= sum(one.mixed for one in mixed) == len(seen) <= 30
    assert not any(one.mixed for one in plain)
    assert all(torch.equal(a.targets, b.targets) for a, b in zip(plain, mixed))
    first = next(i for i, one in enumerate(mixed) if one.mixed)
    assert all(torch.equal(a.loss, b.loss) for a, b in zip(plain[:first], mixed[:first]))
    assert not torch.equal(plain[first].loss, mixed[first].loss)
    # The loss of a mixture is that of its rows, on the mixed images.
    again = classifier()
    later = run(again, sgd(again), last=25, mix=mix)
    assert [float(one.loss) for one in later] == [float(one.loss) for one in mixed[:25]]


def test_clipping_limits_the_step() -> None:
    model = classifier()
    before = weights(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    run(model, optimizer, 0, 1, clip_norm=1e-3)
    # One plain SGD step at rate 0.1 with a gradient of norm 1e-3.
    assert float((weights(model) - before).norm()) == pytest.approx(1e-4, rel=1e-2)


def test_results_are_detached_and_the_model_trains() -> None:
    model = classifier().eval()
    (result,) = run(model, sgd(model), 0, 1)
    assert model.training
    assert not result.logits.requires_grad
    assert not result.loss.requires_grad
    assert result.logits.shape == (6, 3)


def test_average_follows_the_weights() -> None:
    model = classifier()
    start = weights(model)
    average = MovingAverage(model, decay=0.5)
    path = []
    optimizer = sgd(model)
    for step in range(3):
        run(model, optimizer, step, step + 1, average=average)
        path.append(weights(model))
    # The first update copies; (1 + n) / (10 + n) is below the decay all the while.
    expected = path[0]
    for n, point in enumerate(path[1:], start=1):
        kept = (1 + n) / (10 + n)
        expected = kept * expected + (1 - kept) * point
    torch.testing.assert_close(weights(average.module), expected)
    assert not torch.equal(start, expected)


@pytest.mark.gpu
def test_a_step_on_cuda() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    fabric = Fabric(accelerator="cuda", devices=1, precision="bf16-mixed")
    model = classifier()
    wrapped, optimizer = fabric.setup(model, sgd(model))
    results = list(
        steps(
            wrapped,
            optimizer,
            batches(0, 3),
            functional.cross_entropy,
            fabric=fabric,
            rate=lambda _: 0.01,
            seed=0,
        )
    )
    assert all(torch.isfinite(result.loss).item() for result in results)


@pytest.mark.gpu
def test_a_step_on_cuda_never_waits_for_the_device() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    fabric = Fabric(accelerator="cuda", devices=1, precision="bf16-mixed")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.LazyLinear(3))
    network(torch.zeros(2, 3, 8, 8))
    model = Classifier(network, PLAIN)
    model.lay_out(channels_last=True)
    optimizer = build_optimizer("adamw", model, learning_rate=0.01, momentum=0.0, weight_decay=0.01)
    wrapped, wrapped_optimizer = fabric.setup(model, optimizer)
    pinned = (
        replace(one, images=one.images.pin_memory(), targets=one.targets.pin_memory())
        for one in batches(0, 4)
    )
    stream = steps(
        wrapped,
        wrapped_optimizer,
        pinned,
        functional.cross_entropy,
        fabric=fabric,
        rate=lambda _: 0.01,
        seed=0,
        clip_norm=1.0,
        augmentation=("crop", "flip", "vertical-flip", "quarter-turns", "rotation"),
    )
    next(stream)  # the first step allocates and chooses kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        results = list(stream)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(torch.isfinite(result.loss).item() for result in results)
