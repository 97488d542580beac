"""The training loops that `epoch.py` sets beside each other, each in a process of its own.

    python loops.py NAME FOLDER '{"side": 64, "network": "resnet18", ...}'

Prints the seconds of each epoch (by the clock, and of all processors) as JSON, on its last line.
Imports, building the network, listing the files and starting workers stand outside the clock,
except where a loop starts its workers anew each epoch (fastai does).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

MEAN, STD = (0.67, 0.64, 0.60), (0.20, 0.20, 0.22)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What all loops have in common."""

    folder: Path
    side: int
    network: str
    batch: int
    epochs: int
    cores: int
    way: dict[str, Any]

    def build(self, n_classes: int) -> nn.Module:
        torch.manual_seed(0)
        if self.network == "tutorial":
            from everyclass.models.tutorial import TutorialCNN

            return TutorialCNN(in_channels=3, side=self.side, n_classes=n_classes)
        import timm

        return timm.create_model(self.network, num_classes=n_classes)


Epochs = list[tuple[float, float]]
"""Seconds of each epoch: by the clock, and of all processors together."""


def now() -> tuple[float, float]:
    """The clock, and processor seconds of this process, its threads and its workers."""
    ended = os.times()
    busy = ended.user + ended.system + ended.children_user + ended.children_system
    for worker in multiprocessing.active_children():
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rsplit(")", 1)[1].split()
        busy += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return time.perf_counter(), busy


def since(started: tuple[float, float]) -> tuple[float, float]:
    clock, busy = now()
    return clock - started[0], busy - started[1]


@contextmanager
def timed(epochs: Epochs) -> Iterator[None]:
    started = now()
    yield
    epochs.append(since(started))


# -- ours -----------------------------------------------------------------------------------------


def recipe_values(task: Task) -> dict[str, Any]:
    """Of our training; the tutorial's network gets the tutorial's optimizer, no augmentation."""
    plain = task.network == "tutorial"
    return {
        "image_size": task.side,
        "model": task.network,
        "batch_size": task.batch,
        "epochs": 100,
        "imbalance": (),
        "optimizer": "sgd" if plain else "adamw",
        "learning_rate": 1e-3,
        "weight_decay": 0.0 if plain else 0.01,
        "augmentation": () if plain else ("crop", "flip"),
        "device": "cpu",
    }


def way(task: Task) -> dict[str, Any]:
    """What `everyclass train` would measure and choose for this network, side and batch."""
    from everyclass.models.classifier import Classifier, Preprocessing
    from everyclass.run_folder import RunFolder
    from everyclass.workflows import compute
    from everyclass.workflows.correction import build_correction
    from everyclass.workflows.freed_memory import keep_freed_memory
    from everyclass.workflows.job import Job
    from everyclass.workflows.machine import find_machine
    from everyclass.workflows.prepare import DataSource, prepare

    keep_freed_memory()
    compute.LEAST_STEPS, compute.LEAST_SECONDS = 0, 0.0  # as in a long training
    compute.SHARE = 1.0
    machine = find_machine("cpu")
    prepared = prepare(
        DataSource(source=str(task.folder)),
        wishes=recipe_values(task),
        preset=None,
        machine=machine,
        store_folder=None,
        on_event=lambda _: None,
    )
    table, settings = prepared.table, prepared.recipe.settings
    job = Job(
        run=RunFolder(Path("unused")),
        table=table,
        settings=settings,
        correction=build_correction(
            (),
            table.of_split("train").labels(),
            classes=table.classes,
            epochs=1,
            label_smoothing=0.0,
            seed=0,
            device=torch.device("cpu"),
        ),
        store=prepared.store,
        classifier=Classifier(
            task.build(len(table.classes)), Preprocessing(side=task.side, mean=MEAN, std=STD)
        ),
        weights="none",
    )
    recipe = compute.measured(
        prepared.recipe,
        lambda: job,
        n_train=int(table.counts("train").sum()),
        fixed=(),
        bf16=machine.bf16,
    )
    prepared.store.close()
    found = {name: getattr(recipe.settings, name) for name in compute.MEASURED}
    return {
        **found,
        "why": [one.sentence() for one in recipe.decisions if one.origin == "measured"],
    }


def everyclass_loop(task: Task) -> Epochs:
    """The store, batches and steps of `everyclass train`, with its average of the weights but where
    the recipe is the tutorial's; the first epoch decodes and keeps."""
    from everyclass.decide import EMA_DECAY
    from everyclass.images.readers import read_table
    from everyclass.images.store import ImageStore
    from everyclass.imbalance.sampling import epoch_order
    from everyclass.models.classifier import Classifier, Preprocessing
    from everyclass.training.averaging import MovingAverage
    from everyclass.training.batches import steps_per_epoch, training_batches
    from everyclass.training.optim import build_optimizer
    from everyclass.training.steps import steps
    from everyclass.workflows.freed_memory import keep_freed_memory
    from everyclass.workflows.inference import make_fabric

    keep_freed_memory()  # as the command does
    values, table = recipe_values(task), read_table(str(task.folder))
    labels = table.labels()
    torch.set_num_threads(task.way["threads"])
    fabric = make_fabric(device="cpu", precision=task.way["precision"])
    classifier = Classifier(
        task.build(len(table.classes)), Preprocessing(side=task.side, mean=MEAN, std=STD)
    )
    classifier.lay_out(channels_last=task.way["memory_format"] == "channels_last")
    optimizer = build_optimizer(
        values["optimizer"],
        classifier,
        learning_rate=1e-3,
        momentum=0.9,
        weight_decay=values["weight_decay"],
    )
    averages = task.network != "tutorial"
    average = MovingAverage(classifier, decay=EMA_DECAY) if averages else None
    model, wrapped = fabric.setup(classifier, optimizer)
    per_epoch = steps_per_epoch(len(table), task.batch)
    seconds: Epochs = []
    with (
        tempfile.TemporaryDirectory() as cache,
        ImageStore(table, side=task.side, threads=task.cores, folder=Path(cache)) as store,
    ):
        started = now()
        for result in steps(
            model,
            wrapped,
            training_batches(
                store.gather,
                labels,
                lambda epoch: epoch_order(labels, power=1.0, seed=0, epoch=epoch),
                n_images=len(table),
                batch_size=task.batch,
                first_step=0,
                n_steps=per_epoch * task.epochs,
            ),
            functional.cross_entropy,
            fabric=fabric,
            rate=lambda _: 1e-3,
            seed=0,
            augmentation=values["augmentation"],
            average=average,
        ):
            if (result.batch.step + 1) % per_epoch == 0:
                seconds.append(since(started))
                started = now()
    return seconds


def compute_only(task: Task) -> Epochs:
    """The same network, optimizer and way to compute on one constant batch: no file, no image."""
    from everyclass.training.optim import build_optimizer
    from everyclass.workflows.freed_memory import keep_freed_memory
    from everyclass.workflows.inference import make_fabric

    keep_freed_memory()
    values = recipe_values(task)
    torch.set_num_threads(task.way["threads"])
    fabric = make_fabric(device="cpu", precision=task.way["precision"])
    last = task.way["memory_format"] == "channels_last"
    layout = torch.channels_last if last else torch.contiguous_format
    files = sum(1 for path in task.folder.rglob("*") if path.is_file())
    network = task.build(6).to(memory_format=layout).train()
    optimizer = build_optimizer(
        values["optimizer"],
        network,
        learning_rate=1e-3,
        momentum=0.9,
        weight_decay=values["weight_decay"],
    )
    inputs = torch.randn(task.batch, 3, task.side, task.side).contiguous(memory_format=layout)
    targets = torch.arange(task.batch) % 6

    def step(size: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        with fabric.autocast():
            loss = functional.cross_entropy(network(inputs[:size]), targets[:size])
        loss.backward()
        optimizer.step()

    sizes = [task.batch] * (files // task.batch)
    if files % task.batch > 1:
        sizes.append(files % task.batch)
    step(task.batch)
    seconds: Epochs = []
    for _ in range(task.epochs):
        with timed(seconds):
            for size in sizes:
                step(size)
    return seconds


# -- peers ----------------------------------------------------------------------------------------


def torchvision_loader(task: Task) -> tuple[Any, int]:
    """Per image PIL decoding, five transforms; a worker a core. And how many classes."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((task.side, task.side), antialias=True),
            v2.RandomResizedCrop(task.side, scale=(0.56, 1.0), ratio=(1.0, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    images = ImageFolder(str(task.folder), transform=transform)
    loader = DataLoader(
        images,
        batch_size=task.batch,
        shuffle=True,
        num_workers=task.cores,
        persistent_workers=True,
    )
    return loader, len(images.classes)


def torchvision_loop(task: Task) -> Epochs:
    """What people write around such a loader."""
    loader, n_classes = torchvision_loader(task)
    network = task.build(n_classes).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    seconds: Epochs = []
    for _ in range(task.epochs):
        with timed(seconds):
            for inputs, targets in loader:
                loss = functional.cross_entropy(network(inputs), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return seconds


def tutorial_loop(task: Task) -> Epochs:
    """The tutorial's: a data set of its own that decodes to a float tensor, Resize,
    ConvertImageDtype, Normalize; a DataLoader without workers; the loss read at every step."""
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms
    from torchvision.io import read_image

    transform = transforms.Compose(
        [
            transforms.Resize((task.side, task.side)),
            transforms.ConvertImageDtype(torch.float),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )

    class Images(Dataset[tuple[torch.Tensor, int]]):
        def __init__(self) -> None:
            self.classes = sorted(path.name for path in task.folder.iterdir())
            self.samples = [
                (str(path), label)
                for label, name in enumerate(self.classes)
                for path in sorted((task.folder / name).iterdir())
            ]

        def __len__(self) -> int:
            return len(self.samples)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            path, label = self.samples[index]
            return transform(read_image(path).float()), label

    images = Images()
    loader = DataLoader(images, batch_size=task.batch, shuffle=True)
    network = task.build(len(images.classes)).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    seconds: Epochs = []
    for _ in range(task.epochs):
        running = 0.0
        with timed(seconds):
            for inputs, targets in loader:
                optimizer.zero_grad()
                loss = criterion(network(inputs), targets)
                loss.backward()
                optimizer.step()
                running += loss.item()
    return seconds


def fastai_loop(task: Task) -> Epochs:
    """fastai's data block and Learner: per image PIL decoding and Resize, crop and flip by batch,
    its optimizer and one-cycle schedule, no validation; a worker a core, started each epoch."""
    from fastai.vision.all import (  # type: ignore[import-not-found]
        Callback,
        ImageDataLoaders,
        Learner,
        Normalize,
        Resize,
        aug_transforms,
    )
    from torchvision.models import resnet18

    class Seconds(Callback):  # type: ignore[misc]
        def before_train(self) -> None:
            self.started = now()

        def after_train(self) -> None:
            seconds.append(since(self.started))

    seconds: Epochs = []
    loaders = ImageDataLoaders.from_folder(
        task.folder,
        valid_pct=0.002,
        seed=0,
        bs=task.batch,
        num_workers=task.cores,
        item_tfms=Resize(task.side, method="squish"),
        batch_tfms=[
            *aug_transforms(
                size=task.side, min_scale=0.56, max_rotate=0, max_zoom=1, max_lighting=0, max_warp=0
            ),
            Normalize.from_stats(MEAN, STD),
        ],
    )
    torch.manual_seed(0)
    network = resnet18(num_classes=loaders.c)
    learner = Learner(
        loaders, network, loss_func=nn.CrossEntropyLoss(), cbs=[Seconds()], path=tempfile.mkdtemp()
    )
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(task.epochs, 1e-3)
    return seconds


def timm_loop(task: Task) -> Epochs:
    """timm's data set, transforms and loader as its train.py uses them, a worker a core; its loop
    without logging: PIL decoding, RandomResizedCropAndInterpolation, flip, normalise per image."""
    from timm.data import ImageDataset, create_loader

    images = ImageDataset(str(task.folder))
    loader = create_loader(
        images,
        input_size=(3, task.side, task.side),
        batch_size=task.batch,
        is_training=True,
        use_prefetcher=False,
        scale=(0.56, 1.0),
        ratio=(1.0, 1.0),
        hflip=0.5,
        color_jitter=0.0,
        mean=MEAN,
        std=STD,
        num_workers=task.cores,
        persistent_workers=True,
        device=torch.device("cpu"),
    )
    network = task.build(len(images.reader.class_to_idx)).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    seconds: Epochs = []
    for _ in range(task.epochs):
        with timed(seconds):
            for inputs, targets in loader:
                optimizer.zero_grad()
                loss = functional.cross_entropy(network(inputs), targets)
                loss.backward()
                optimizer.step()
    return seconds


def lightning_loop(task: Task) -> Epochs:
    """The torchvision loop's images, network and optimizer in Lightning's Trainer."""
    import pytorch_lightning as lightning

    loader, n_classes = torchvision_loader(task)
    seconds: Epochs = []

    class Plain(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = task.build(n_classes)

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            inputs, targets = batch
            return functional.cross_entropy(self.network(inputs), targets)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

        def on_train_epoch_start(self) -> None:
            self.started = now()

        def on_train_epoch_end(self) -> None:
            seconds.append(since(self.started))

    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=task.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Plain(), loader)
    return seconds


ULTRALYTICS_RESNET18 = """
nc: {n}
backbone:
  - [-1, 1, TorchVision, [512, resnet18, null, True, 2]]
head:
  - [-1, 1, Classify, [nc]]
"""


def ultralytics_loop(task: Task) -> Epochs:
    """Ultralytics classify from a YAML: torchvision's ResNet-18 under its own head (a convolution
    to 1280 channels), untrained; PIL or OpenCV decoding, RandomResizedCrop, flip; its AdamW, moving
    average, RandAugment and erasing off; a worker a core. Validation is outside the clock."""
    seconds: Epochs = []
    marks: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        # Its settings and trackers write here, nothing is fetched.
        os.environ |= {"YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": temporary}
        from ultralytics import YOLO, settings  # type: ignore[import-not-found]

        settings.update({"mlflow": False, "wandb": False, "tensorboard": False})
        classes = sorted(one for one in task.folder.iterdir() if one.is_dir())
        for split, most in (("train", None), ("val", 2)):
            for one in classes:
                (root / "data" / split / one.name).mkdir(parents=True)
                for path in sorted(one.iterdir())[:most]:
                    link = root / "data" / split / one.name / path.name
                    link.symlink_to(path.resolve())
        config = root / "resnet18-cls.yaml"
        config.write_text(ULTRALYTICS_RESNET18.format(n=len(classes)))
        model = YOLO(str(config), task="classify")
        model.add_callback("on_train_epoch_start", lambda _: marks.append(now()))
        model.add_callback("on_train_epoch_end", lambda _: seconds.append(since(marks[-1])))
        model.train(
            data=str(root / "data"),
            imgsz=task.side,
            batch=task.batch,
            nbs=task.batch,
            epochs=task.epochs,
            workers=task.cores,
            device="cpu",
            optimizer="AdamW",
            lr0=1e-3,
            scale=0.44,
            auto_augment=None,
            erasing=0.0,
            hsv_h=0.0,
            hsv_s=0.0,
            hsv_v=0.0,
            val=False,
            plots=False,
            verbose=False,
            pretrained=False,
            project=str(root / "runs"),
        )
    return seconds


LOOPS = {
    "way": way,
    "everyclass": everyclass_loop,
    "compute only": compute_only,
    "torchvision loop": torchvision_loop,
    "tutorial's loop": tutorial_loop,
    "timm": timm_loop,
    "Lightning": lightning_loop,
    "fastai": fastai_loop,
    "Ultralytics": ultralytics_loop,
}


if __name__ == "__main__":
    given = json.loads(sys.argv[3])
    asked = Task(folder=Path(sys.argv[2]), **given)
    torch.set_num_threads(asked.cores)
    print(json.dumps(LOOPS[sys.argv[1]](asked)))
