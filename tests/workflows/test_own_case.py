"""Our own training as a case: the batches, rates and losses are those of the training itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from repair_zoo import SMALL

from everyclass.diagnosis.case import Case
from everyclass.diagnosis.check import check_case
from everyclass.images.store import ImageStore
from everyclass.models.backbones import build_backbone
from everyclass.models.classifier import Classifier, Preprocessing
from everyclass.run_folder import RunFolder
from everyclass.training.batches import Batch, steps_per_epoch, training_batches
from everyclass.training.optim import build_optimizer, learning_rate_at
from everyclass.training.steps import steps
from everyclass.workflows.correction import build_correction
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.inference import make_fabric
from everyclass.workflows.job import Job
from everyclass.workflows.machine import find_machine
from everyclass.workflows.own_case import MOST_BYTES, own_case
from everyclass.workflows.prepare import Prepared, prepare
from image_folders import write_image_folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uneven")
    return write_image_folder(folder, {"ash": 120, "birch": 60, "cedar": 30})


@pytest.fixture
def prepared(images: Path, tmp_path: Path) -> Iterator[Prepared]:
    wishes = {**SMALL, "imbalance": ["weights-inverse"], "augmentation": ["flip"]}
    found = prepare(
        DataSource(source=str(images)),
        wishes=wishes,
        preset=None,
        machine=find_machine("cpu"),
        store_folder=tmp_path / "store",
        on_event=lambda _: None,
    )
    yield found
    found.store.close()


def job_of(prepared: Prepared, path: Path) -> Job:
    settings, table = prepared.recipe.settings, prepared.table
    backbone = build_backbone(
        settings.model,
        side=settings.image_size,
        n_classes=len(table.classes),
        seed=0,
        pretrained=False,
        weights_file=None,
    )
    correction = build_correction(
        settings.imbalance,
        table.of_split("train").labels(),
        classes=table.classes,
        epochs=settings.epochs,
        label_smoothing=0.0,
        seed=0,
        device=torch.device("cpu"),
    )
    preprocessing = Preprocessing(side=settings.image_size, mean=settings.mean, std=settings.std)
    return Job(
        run=RunFolder(path),
        table=table,
        settings=settings,
        correction=correction,
        store=prepared.store,
        classifier=Classifier(backbone.network, preprocessing),
        weights=backbone.weights,
    )


def case_of(job: Job, *, first_step: int = 0, step: int = 40) -> Case:
    settings = job.settings
    optimizer = build_optimizer(
        "adamw", job.classifier, learning_rate=1e-7, momentum=0.9, weight_decay=0.05
    )
    assert settings.optimizer == "adamw"
    state = {name: one.clone() for name, one in job.classifier.state_dict().items()}
    return own_case(job, state, optimizer, first_step=first_step, step=step)


def trained_on(job: Job, store: ImageStore, *, first_step: int, n_steps: int) -> list[Batch]:
    codes = job.table.split_codes()
    rows = (codes == 0).nonzero()[0]
    return list(
        training_batches(
            store.gather,
            job.table.labels(),
            lambda epoch: rows[job.correction.epoch_order(epoch)],
            n_images=len(rows),
            batch_size=job.settings.batch_size,
            first_step=first_step,
            n_steps=n_steps,
        )
    )


@pytest.mark.parametrize("first_step", [0, 5])
def test_batches_and_rates_are_those_of_the_training(
    first_step: int, prepared: Prepared, tmp_path: Path
) -> None:
    job = job_of(prepared, tmp_path)
    case = case_of(job, first_step=first_step)
    batches = trained_on(
        job, prepared.store, first_step=first_step, n_steps=first_step + len(case.batches)
    )
    for seen, batch in zip(case.batches, batches, strict=True):
        assert torch.equal(seen.args[0], batch.images)
        assert seen.args[0].dtype == torch.uint8
        # Channels last, a strided 1x1 convolution of theirs may write past its memory (CPU).
        assert seen.args[0].is_contiguous()
        assert seen.targets is not None
        assert torch.equal(seen.targets, batch.targets)
    rates = dict(case.rates)
    settings = job.settings
    per_epoch = steps_per_epoch(len(job.table.of_split("train")), settings.batch_size)
    assert len(case.batches) == per_epoch
    for k, rate in rates.items():
        assert rate == learning_rate_at(
            first_step + k,
            n_steps=per_epoch * settings.epochs,
            peak=settings.learning_rate,
            schedule=settings.schedule,
            warmup_fraction=settings.warmup_fraction,
        )
    assert case.steps == 40 - first_step
    assert {group["lr"] for group in case.optimizers[0].param_groups} == {settings.learning_rate}


def test_the_loss_is_the_same_number_in_the_words_of_torch(
    prepared: Prepared, tmp_path: Path
) -> None:
    job = job_of(prepared, tmp_path)
    case = case_of(job)
    assert case.loss is not None
    assert case.loss.weight is not None
    assert case.loss_function is not None
    logits, targets = torch.randn(50, 3), torch.randint(3, (50,))
    ours, theirs = job.correction.loss(logits, targets), case.loss_function(logits, targets)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)


def test_in_evaluation_it_answers_as_the_classifier_and_in_training_it_augments(
    prepared: Prepared, tmp_path: Path
) -> None:
    job = job_of(prepared, tmp_path)
    case = case_of(job)
    [images] = case.batches[0].args
    case.model.eval()
    with torch.no_grad():
        plain = job.classifier(images)
        assert torch.equal(case.model(images), plain)
        case.model.train()
        torch.manual_seed(1)
        first = case.model(images)
        assert not torch.equal(first, plain)
        torch.manual_seed(1)
        assert torch.equal(case.model(images), first)


def test_no_check_accuses_a_healthy_training(prepared: Prepared, tmp_path: Path) -> None:
    job = job_of(prepared, tmp_path)
    start = {name: one.clone() for name, one in job.classifier.state_dict().items()}
    fabric = make_fabric(device="cpu", precision="fp32")
    plain = build_optimizer(
        "adamw", job.classifier, learning_rate=1e-3, momentum=0.9, weight_decay=0.05
    )
    model, optimizer = fabric.setup(job.classifier, plain)
    batches = trained_on(job, prepared.store, first_step=0, n_steps=30)
    for _ in steps(
        model, optimizer, batches, job.correction.loss, fabric=fabric, rate=lambda _: 1e-3, seed=0
    ):
        pass
    case = own_case(job, start, plain, first_step=0, step=30)
    results = check_case(case)
    assert [one for one in results if one.outcome == "issue"] == []
    assert sum(one.outcome == "passed" for one in results) >= 15


def test_what_trials_get_is_bounded(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_BYTES == 64 * 2**20
    size = 32 * 3 * 40 * 40
    monkeypatch.setattr("everyclass.workflows.own_case.MOST_BYTES", 2 * size + 1)
    assert len(case_of(job_of(prepared, tmp_path)).batches) == 2
