"""The Hugging Face callback in real trainings of a tiny vision transformer, built offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from everyclass.errors import InputError

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from everyclass.capture.transformers import EveryclassCallback  # noqa: E402

NAMES = ("ash", "birch", "cedar")
IMAGES, BATCH = 320, 16

pytestmark = pytest.mark.filterwarnings("ignore")


class Squares(Dataset[dict[str, Tensor]]):
    """8 x 8 pictures, one bright channel a class."""

    def __init__(self, n: int, *, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(0, 3, (n,), generator=generator)
        self.pixels = 0.3 * torch.randn(n, 3, 8, 8, generator=generator)
        self.pixels += F.one_hot(self.labels, 3)[:, :, None, None]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return {"pixel_values": self.pixels[i], "labels": self.labels[i]}


def _model() -> Any:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=8,
        patch_size=4,
        id2label=dict(enumerate(NAMES)),
        label2id={name: i for i, name in enumerate(NAMES)},
    )
    return transformers.ViTForImageClassification(config)


def _trainer(folder: Path, callback: Any, *, kind: Any = None, **given: Any) -> Any:
    options = {
        "per_device_train_batch_size": BATCH,
        "num_train_epochs": 2,
        "learning_rate": 3e-3,
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
        "seed": 1,
        "logging_steps": 1,
    }
    parts = {key: given.pop(key) for key in ("compute_loss_func",) if key in given}
    arguments = transformers.TrainingArguments(output_dir=str(folder), **(options | given))
    trainer = (kind or transformers.Trainer)(
        model=_model(),
        args=arguments,
        train_dataset=Squares(IMAGES),
        eval_dataset=Squares(48, seed=1),
        callbacks=[] if callback is None else [callback],
        **parts,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def test_training_with_accumulation_and_evaluation(tmp_path: Path) -> None:
    callback = EveryclassCallback()
    trainer = _trainer(tmp_path, callback, gradient_accumulation_steps=2, eval_strategy="epoch")
    trainer.train()
    summary = callback.monitor.summary()
    assert summary.step == trainer.state.global_step == 20
    assert (summary.verdict, summary.phase) == ("healthy", "learned")
    figures = summary.figures
    assert figures is not None
    assert figures.classes == NAMES
    assert figures.images == 2 * IMAGES
    # The Trainer divides each batch's loss by the images of both; the mean is of one batch.
    assert figures.given_loss == pytest.approx(figures.loss, rel=0.05)
    assert summary.evaluation is not None
    assert (summary.evaluation.images, summary.evaluation.step) == (48, 20)
    assert summary.layers
    assert not any(one._forward_hooks for one in trainer.model.modules())


def test_losses_are_bit_identical_with_and_without(tmp_path: Path) -> None:
    told = []
    for callback in (None, EveryclassCallback()):
        trainer = _trainer(tmp_path, callback, num_train_epochs=1)
        trainer.train()
        told.append([one["loss"] for one in trainer.state.log_history if "loss" in one])
    assert len(told[0]) == 20
    assert told[0] == told[1]


def test_label_smoothing_hides_the_labels_until_it_is_watched(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, EveryclassCallback(), label_smoothing_factor=0.1)
    with pytest.raises(InputError, match="calls the model without labels") as error:
        trainer.train()
    assert "trainer.label_smoother = callback.watch_loss(trainer.label_smoother)" in str(
        error.value
    )
    callback = EveryclassCallback()
    trainer = _trainer(tmp_path, callback, label_smoothing_factor=0.1, eval_strategy="epoch")
    trainer.label_smoother = callback.watch_loss(trainer.label_smoother)
    trainer.train()
    summary = callback.monitor.summary()
    assert summary.phase == "learned"
    assert summary.evaluation is not None
    assert summary.evaluation.images == 48


def test_loss_of_ones_own(tmp_path: Path) -> None:
    def weighted(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        return F.cross_entropy(outputs.logits, labels, weight=torch.tensor([1.0, 2.0, 3.0]))

    callback = EveryclassCallback()
    _trainer(tmp_path, callback, compute_loss_func=callback.watch_loss(weighted)).train()
    assert callback.monitor.summary().phase == "learned"


def test_trainer_that_takes_the_labels_itself(tmp_path: Path) -> None:
    callback = EveryclassCallback()

    class Own(transformers.Trainer):
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, **given: Any
        ) -> Any:
            labels = inputs.pop("labels")
            callback.show_labels(labels)
            outputs = model(**inputs)
            loss = F.cross_entropy(outputs.logits, labels)
            return (loss, outputs) if return_outputs else loss

    _trainer(tmp_path, callback, kind=Own).train()
    assert callback.monitor.summary().phase == "learned"


def test_no_monitor_before_the_training() -> None:
    with pytest.raises(InputError, match="before the training has begun"):
        _ = EveryclassCallback().monitor
