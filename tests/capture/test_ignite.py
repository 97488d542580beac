"""The Ignite handler on real engines: accumulation, evaluators, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from everyclass.capture.ignite import EveryclassHandler
from everyclass.errors import InputError

engine = pytest.importorskip("ignite.engine")

CLASSES, BATCH = 3, 32


def _loader(n: int, *, seed: int = 0) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, CLASSES, (n,), generator=generator)
    inputs = torch.randn(n, 8, generator=generator) + 2 * F.one_hot(targets, 8)
    return DataLoader(TensorDataset(inputs, targets), batch_size=BATCH)


def _parts(**given: Any) -> tuple[nn.Module, torch.optim.Optimizer, Any]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    trainer = engine.create_supervised_trainer(model, optimizer, F.cross_entropy, **given)
    return model, optimizer, trainer


def test_training_with_accumulation_and_evaluator() -> None:
    model, optimizer, trainer = _parts(gradient_accumulation_steps=2)
    evaluator = engine.create_supervised_evaluator(model)
    validation = _loader(96, seed=1)

    # Added before ours: when it runs, the training batch of the same event is not read yet.
    @trainer.on(engine.Events.ITERATION_COMPLETED(every=10))
    def evaluate() -> None:
        evaluator.run(validation)

    handler = EveryclassHandler(classes=["ash", "birch", "cedar"])
    handler.attach(trainer, model=model, optimizer=optimizer, evaluators=[evaluator])
    trainer.run(_loader(640), max_epochs=2)
    summary = handler.monitor.summary()
    assert (summary.step, summary.verdict, summary.phase) == (20, "healthy", "learned")
    figures = summary.figures
    assert figures is not None
    assert figures.images == 32 * BATCH
    assert figures.given_loss == pytest.approx(figures.loss, rel=0.02)
    assert summary.evaluation is not None
    assert (summary.evaluation.images, summary.evaluation.step) == (96, 20)
    assert not any(one._forward_hooks for one in model.modules())


def test_every_iteration_is_a_step_without_the_optimizer() -> None:
    model, _, trainer = _parts()
    handler = EveryclassHandler()
    handler.attach(trainer, model=model)
    trainer.run(_loader(640), max_epochs=1)
    assert handler.monitor.steps == 20
    first = handler.monitor
    trainer.run(_loader(640), max_epochs=1)
    assert handler.monitor is not first
    assert handler.monitor.steps == 20


def test_errors_of_the_script_are_still_raised() -> None:
    model, optimizer, trainer = _parts()

    @trainer.on(engine.Events.ITERATION_COMPLETED(once=3))
    def fail() -> None:
        raise RuntimeError("disk full")

    handler = EveryclassHandler()
    handler.attach(trainer, model=model, optimizer=optimizer)
    with pytest.raises(RuntimeError, match="disk full"):
        trainer.run(_loader(640), max_epochs=1)
    assert handler.monitor.steps == 2


def test_terminated_run_is_read_to_its_end() -> None:
    model, optimizer, trainer = _parts()
    handler = EveryclassHandler(on_finding=lambda finding: trainer.terminate())
    nn.init.zeros_(model[2].weight)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    handler.attach(trainer, model=model, optimizer=optimizer)
    trainer.run(_loader(640), max_epochs=20)
    assert handler.monitor.summary().verdict == "collapsed"
    assert handler.monitor.steps < 200
    assert not any(one._forward_hooks for one in model.modules())


def test_attached_twice_is_an_error() -> None:
    model, _, trainer = _parts()
    handler = EveryclassHandler()
    with pytest.raises(InputError, match="before the training has begun"):
        _ = handler.monitor
    handler.attach(trainer, model=model)
    with pytest.raises(InputError, match="attached already"):
        handler.attach(trainer, model=model)
