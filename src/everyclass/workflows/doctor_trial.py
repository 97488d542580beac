"""Does it work here? Images written and read back, a collapse that must be found, and a healthy
training that must not be accused.

Comes in: a folder for what is written. Goes out: `Item`s. Both trainings are the same small network
on the same drawn images, watched as `everyclass.watch` watches anybody's; in one of them a hidden
layer is dead. torch is loaded inside: one that cannot be loaded is a finding.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from everyclass.workflows.doctor_values import Item

if TYPE_CHECKING:
    from torch import Tensor

    from everyclass.findings import CheckResult, Finding
    from everyclass.monitoring.summary import Summary

WIDTH, HEIGHT = 64, 48
MOST_OFF = 4.0
"""Levels of 255 in the mean: what JPEG at quality 95 may cost a smooth picture."""

REINSTALL = "pip install --force-reinstall pillow simplejpeg opencv-python-headless"
N_IMAGES, SIDE, BATCH, STEPS = 80, 32, 20, 300
"""In 300 steps the alarm was raised with each of 20 seeds, at step 123 to 219, and none in the
healthy training."""

COLLAPSES = ("collapsed", "not-learning")
CAUSE = "dead-units"
DEAD = -1e3
"""A bias that no input lifts above zero."""


def decoder_item(folder: Path) -> Item:
    """A PNG and a JPEG of known pixels are written, and read by the decoder of all commands."""
    from PIL import Image

    from everyclass.images.pixels import decode, load_image

    across, down = np.meshgrid(np.linspace(0, 255, WIDTH), np.linspace(0, 255, HEIGHT))
    drawn = np.stack([across, down, 255 - across], axis=-1).round().astype(np.uint8)
    off = {}
    for kind in ("PNG", "JPEG"):
        written = BytesIO()
        Image.fromarray(drawn).save(written, kind, quality=95)
        path = folder / f"decoded.{kind.lower()}"
        path.write_bytes(written.getvalue())
        read = decode(path.read_bytes()).rgb
        off[kind] = float(np.abs(read.astype(float) - drawn).mean())
        resized = load_image(str(path), side=16)
        # The mean of a smooth picture stays when it is resized, whatever the filter.
        off[f"{kind} resized"] = float(abs(resized.mean() - drawn.mean()))
    wrong = [name for name, far in off.items() if far > (0 if name == "PNG" else MOST_OFF)]
    fact = f"PNG exact, JPEG within {off['JPEG']:.2f} of 255 in the mean, both resized"
    if not wrong:
        return Item(name="decoder", state="ok", fact=fact, figures=off)
    told = ", ".join(f"{name} off by {off[name]:.2f} of 255" for name in wrong)
    return Item(name="decoder", state="problem", fact=told, remedy=f"{REINSTALL}", figures=off)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SmallImages:
    """What both trainings learn from.

    Attributes:
        inputs: (N, 3, 32, 32) float, -1 to 1.
        targets: (N,) int64.
    """

    inputs: Tensor
    targets: Tensor
    n_classes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A small training that was watched.

    Attributes:
        first_alarm: step of it, None without one.
        seconds: of training and watch.
    """

    summary: Summary
    issues: tuple[CheckResult, ...]
    first_alarm: int | None
    seconds: float

    def figures(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "verdict": self.summary.verdict,
            "phase": self.summary.phase,
            "first_alarm_step": self.first_alarm,
            "accused": [one.cause for one in self.issues],
            "seconds": round(self.seconds, 2),
        }


def collapse_item(images: SmallImages) -> Item:
    """Trains with a dead layer: that must be found."""
    return judged_collapse(watch_small(images, is_dead=True))


def healthy_item(images: SmallImages) -> Item:
    """Trains with nothing wrong: that must not be accused."""
    return judged_healthy(watch_small(images, is_dead=False))


def judged_collapse(dead: Watched) -> Item:
    """Of the training whose hidden layer is dead."""
    summary, accused = dead.summary, sorted({str(one.cause) for one in dead.issues})
    told = f"verdict {summary.verdict}"
    told += "" if dead.first_alarm is None else f", alarm at step {dead.first_alarm}"
    told += f", accused: {', '.join(accused) or 'nothing'} ({dead.seconds:.1f} s)"
    name, figures = "forced collapse", dead.figures()
    if summary.verdict in COLLAPSES and dead.first_alarm is not None and CAUSE in accused:
        return Item(name=name, state="ok", fact=f"found: {told}", figures=figures)
    return Item(
        name=name,
        state="problem",
        fact=f"not found, or not its cause ({CAUSE}): {told}",
        remedy="Do not trust 'run' and 'watch' here; report it with the output of --json.",
        figures=figures,
    )


def judged_healthy(healthy: Watched) -> Item:
    """Of the training in which nothing is wrong."""
    summary, accused = healthy.summary, sorted({str(one.cause) for one in healthy.issues})
    name, figures = "healthy training", healthy.figures()
    learned = summary.verdict == "healthy" and summary.phase == "learned"
    if learned and healthy.first_alarm is None and not accused:
        fact = f"not accused: it learned in {STEPS} steps ({healthy.seconds:.1f} s)"
        return Item(name=name, state="ok", fact=fact, figures=figures)
    told = f"verdict {summary.verdict}, phase {summary.phase}"
    told += f", accused: {', '.join(accused)}" if accused else ""
    return Item(
        name=name,
        state="problem",
        fact=f"a training in which nothing is wrong did not learn, or was accused: {told}",
        remedy="Reinstall torch (its arithmetic may be at fault); report it with the output of "
        "--json if it stays.",
        figures=figures,
    )


def watch_small(images: SmallImages, *, is_dead: bool, seed: int = 0) -> Watched:
    """Train a small network under the watch, and check what was captured.

    Args:
        is_dead: the second layer's ReLU is given nothing above zero.
        seed: of weights and batches; the process's own random state stays as it is.
    """
    import torch
    from torch import nn

    from everyclass.capture.watching import watch
    from everyclass.diagnosis.check import check_case

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        second = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        norm: nn.Module = nn.BatchNorm2d(32)
        if is_dead:
            nn.init.constant_(second.bias, DEAD)  # type: ignore[arg-type]
            norm = nn.Identity()  # batch normalisation would take the bias away again
        network = nn.Sequential(
            *(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
            *(second, norm, nn.ReLU()),
            *(nn.Flatten(), nn.Linear(32 * (SIDE // 4) ** 2, images.n_classes)),
        )
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        loss_function = nn.CrossEntropyLoss()
        alarms: list[int] = []
        began = time.monotonic()

        def told(finding: Finding) -> None:
            alarms.append(finding.seen_step)

        with watch(network, optimizer, on_finding=told) as watching:
            for _ in range(STEPS):
                rows = torch.randint(len(images.targets), (BATCH,))
                loss = loss_function(network(images.inputs[rows]), images.targets[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        seconds = time.monotonic() - began
        case = watching.case()
        checks = () if case is None else check_case(case)
    return Watched(
        summary=watching.summary(),
        issues=tuple(one for one in checks if one.outcome == "issue"),
        first_alarm=min(alarms, default=None),
        seconds=seconds,
    )


def small_images(folder: Path) -> SmallImages:
    """The demo's images, fewer and smaller, written, read and scaled."""
    import csv

    import torch

    from everyclass.images.pixels import load_image
    from everyclass.images.synthetic import write_demo_images
    from everyclass.workflows.cores import usable_cores

    manifest = write_demo_images(folder / "images", n=N_IMAGES, side=SIDE, threads=usable_cores())
    with open(manifest, newline="", encoding="utf-8") as file:
        rows = [(row["image_id"], row["label"]) for row in csv.DictReader(file)]
    names = sorted({label for _, label in rows})
    pixels = [
        load_image(str(manifest.parent / f"train_thumbnails/{one}_thumbnail.jpg"), side=SIDE)
        for one, _ in rows
    ]
    return SmallImages(
        inputs=torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1,
        targets=torch.tensor([names.index(label) for _, label in rows]),
        n_classes=len(names),
    )
