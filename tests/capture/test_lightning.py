"""The Lightning callback in real fits: automatic and manual optimisation, accumulation, loggers."""

from __future__ import annotations

import copy
import csv
import logging
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from everyclass.capture import lightning as ours
from everyclass.capture.lightning import EveryclassCallback
from everyclass.errors import InputError
from everyclass.findings import Finding

CLASSES = 3
IMAGES = 640
BATCH = 32

pytestmark = pytest.mark.filterwarnings("ignore")


def _images(*, seed: int = 0, n: int = IMAGES) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, CLASSES, (n,), generator=generator)
    inputs = torch.randn(n, 8, generator=generator) + 2 * F.one_hot(targets, 8)
    return TensorDataset(inputs, targets)


class Automatic(pl.LightningModule):
    """Calls a part of itself and torch's function, and returns the loss alone."""

    def __init__(self, *, rate: float = 0.1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rate = rate
        self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
        if rate == 0:
            nn.init.zeros_(self.net[3].weight)
        self.probabilities = nn.Softmax(dim=1)
        self.losses: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, targets = batch
        logits = self.net(inputs)
        loss = F.cross_entropy(logits, targets)
        self.probabilities(logits)  # as scripts do for their metrics
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), self.rate)


class Manual(Automatic):
    """Steps itself every other batch, holds its loss as a module, and returns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.criterion = nn.CrossEntropyLoss(
            weight=torch.tensor([1.0, 2.0, 3.0]), label_smoothing=0.1
        )

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        inputs, targets = batch
        self.manual_backward(self.criterion(self.net(inputs), targets) / 2)
        if batch_idx % 2:
            optimizer: Any = self.optimizers()
            optimizer.step()
            optimizer.zero_grad()


def _fit(
    model: pl.LightningModule,
    callbacks: list[Any],
    *,
    validation: bool = True,
    images: TensorDataset | None = None,
    **given: Any,
) -> pl.Trainer:
    torch.manual_seed(1)
    options: dict[str, Any] = {
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
    }
    trainer = pl.Trainer(callbacks=callbacks, **(options | given))
    train = DataLoader(images or _images(), batch_size=BATCH, shuffle=True)
    val = DataLoader(_images(seed=1, n=96), batch_size=BATCH) if validation else None
    trainer.fit(model, train, val)
    return trainer


def test_automatic_fit_with_accumulation() -> None:
    callback = EveryclassCallback(classes=["ash", "birch", "cedar"])
    trainer = _fit(Automatic(), [callback], accumulate_grad_batches=2)
    summary = callback.monitor.summary()
    assert summary.step == trainer.global_step == 20
    assert summary.verdict == "healthy"
    assert summary.phase == "learned"
    figures = summary.figures
    assert figures is not None
    # 40 batches of 32, the last 32 rounds of which make up the figures.
    assert figures.images == 32 * BATCH
    assert figures.classes == ("ash", "birch", "cedar")
    # Lightning hands out the loss divided by the batches that accumulate.
    assert figures.given_loss == pytest.approx(figures.loss, rel=0.01)
    evaluation = summary.evaluation
    assert evaluation is not None
    assert (evaluation.images, evaluation.step) == (96, 20)
    assert summary.layers[0].name == "net.0"


def test_losses_are_bit_identical_with_and_without() -> None:
    alone, watched = Automatic(), Automatic()
    _fit(alone, [])
    _fit(watched, [EveryclassCallback()])
    assert alone.losses == watched.losses


class EvaluatedImages(pl.Callback):
    def __init__(self, watched: EveryclassCallback) -> None:
        self.watched = watched
        self.images: list[int] = []

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            evaluation = self.watched.monitor.summary().evaluation
            self.images.append(0 if evaluation is None else evaluation.images)


def test_manual_fit_reads_the_loss_module() -> None:
    callback = EveryclassCallback()
    seen = EvaluatedImages(callback)
    trainer = _fit(Manual(), [callback, seen])
    summary = callback.monitor.summary()
    assert summary.step == trainer.global_step == 20
    assert summary.phase == "learned"
    assert summary.figures is not None
    assert summary.figures.images == 32 * BATCH
    # Validation calls no loss module, so its first batch is spent on finding that out.
    assert seen.images == [64, 96]


def test_sanity_check_is_no_evaluation() -> None:
    callback = EveryclassCallback()
    _fit(Automatic(), [callback], num_sanity_val_steps=2, check_val_every_n_epoch=9)
    assert callback.monitor.summary().evaluation is None


def test_alarms_are_told_once_each_on_the_logger(caplog: pytest.LogCaptureFixture) -> None:
    callback = EveryclassCallback()
    with caplog.at_level(logging.WARNING, logger="everyclass"):
        _fit(Automatic(rate=0.0), [callback], max_epochs=8)
    told = [one.message for one in caplog.records if one.name == "everyclass"]
    assert [one.split(" (step ")[0] for one in told] == [
        "everyclass: collapsed",
        "everyclass: not-learning",
    ]
    assert callback.monitor.summary().verdict == "collapsed"


class _Stop(Exception):
    pass


def test_a_finding_may_end_the_fit_and_leaves_no_hooks() -> None:
    def stop(finding: Finding) -> None:
        raise _Stop(finding.id)

    model = Automatic(rate=0.0)
    callback = EveryclassCallback(on_finding=stop)
    with pytest.raises(_Stop, match="collapsed"):
        _fit(model, [callback], max_epochs=8)
    assert callback.monitor.steps < 8 * IMAGES // BATCH
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())


def test_copies_and_pickles_of_the_model_hold_none_of_us() -> None:
    class Save(pl.Callback):
        saved = b""
        copied: nn.Module | None = None

        def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            self.saved = pickle.dumps(pl_module.net)
            self.copied = copy.deepcopy(pl_module.net)

    save = Save()
    callback = EveryclassCallback()
    _fit(Automatic(), [callback, save])
    assert b"PassFinder" not in save.saved
    assert b"ModuleCall" not in save.saved
    images = torch.randn(4, 8)
    for one in (pickle.loads(save.saved), save.copied):  # noqa: S301
        assert one is not None
        one(images)
    figures = callback.monitor.summary().figures
    assert figures is not None
    assert figures.images == 32 * BATCH


def test_scalars_reach_the_loggers_of_the_trainer(tmp_path: Path) -> None:
    callback = EveryclassCallback(log_every_steps=10)
    _fit(Automatic(), [callback], logger=CSVLogger(tmp_path, name="", version=""))
    with (tmp_path / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["everyclass/kappa"]]
    assert [row["step"] for row in rows] == ["10", "20", "30", "40"]
    assert float(rows[-1]["everyclass/kappa"]) > 0.5
    assert float(rows[-1]["everyclass/recall/0"]) > 0.5


class TwoNumbers(Automatic):
    """A batch with two tensors that could be class ids, and a loss that is neither's."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, _, targets = batch
        return 0.3 * F.cross_entropy(self.net(inputs), targets, label_smoothing=0.2)


def test_ambiguous_targets_are_asked_for() -> None:
    inputs, targets = _images().tensors
    images = TensorDataset(inputs, torch.zeros_like(targets), targets)
    with pytest.raises(InputError, match=r"could be the targets: \[1\], \[2\]") as error:
        _fit(TwoNumbers(), [EveryclassCallback()], validation=False, images=images)
    assert "targets=lambda batch: batch[1]" in error.value.remedy
    callback = EveryclassCallback(targets=lambda batch: batch[2])
    _fit(TwoNumbers(), [callback], validation=False, images=images)
    assert callback.monitor.summary().phase == "learned"


def test_no_monitor_before_the_fit() -> None:
    with pytest.raises(InputError, match="before the training has begun"):
        _ = EveryclassCallback().monitor


def test_base_is_the_callback_of_either_package(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        pass

    package = types.ModuleType("lightning.pytorch")
    package.Callback = Other  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lightning.pytorch", package)
    monkeypatch.setitem(sys.modules, "lightning", types.ModuleType("lightning"))
    base = ours._callback_base()
    assert issubclass(base, Other)
    assert issubclass(base, pl.Callback)
    monkeypatch.delitem(sys.modules, "pytorch_lightning")
    assert not issubclass(ours._callback_base(), pl.Callback)
