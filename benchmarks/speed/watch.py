"""What watching costs: the same training with and without, interleaved; ratios of medians.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/speed/watch.py [--blocks 5] [--repeats 5]
        [--parts monitor turns settled script]

Monitor: `monitor.step` with the layers watched, in a plain loop on constant batches, for a
ResNet-18 (64 px, batch 32; at most 1 % wanted) and the tutorial's CNN (64 px, batch 32, and 256 px,
batch 4 as the tutorial has it; at most 5 % wanted). A step without and one with take turns, in
blocks of 64 pairs: every block has two readings of sums and one sample of the parameters, so
nothing that is rare is left out, and a busy neighbour hits both.

Run (at most 3 % beyond start-up wanted), measured twice. In turns: the session and the patches of
`everyclass run` in one process, on one plain loop, switched off at every other step; in the first
320 steps, when most batches are copied; while every step is still watched; and, for the short steps
of the tutorial's CNN, after 1,000 steps, when the session has found the share of steps that it can
watch within its limit. And whole: a script that trains the tutorial's CNN, as `python script.py`
and as `everyclass run script.py`, which prints the seconds of its own loop for 640 steps from step
48 on and from step 1,424 on; that is what a user meets, and varies more than what is measured.

Wall time is what a user waits; on shared cores it varies more than what is measured, so the
processor time of the process (all threads) stands beside it.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import timm
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from everyclass.capture.patches import Patches
from everyclass.capture.rhythm import BLOCK as COST_BLOCK
from everyclass.capture.rhythm import EVERY_STEP_UNTIL, Rhythm
from everyclass.capture.session import Session
from everyclass.models.tutorial import TutorialCNN
from everyclass.monitoring.monitor import Monitor

N_CLASSES = 5
BLOCK, WARM_UP = 64, 16
EARLY_BLOCKS = 5
PARTS = ("monitor", "turns", "settled", "script")
EPOCH_STEPS, TIMED_EPOCHS = 16, 40
TIMED_FROM = (3, 89)
"""Epochs: after the first ones have warmed up; after the share of watched steps has settled."""

SCRIPT = f"""\
import time

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(6, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(256, 200), nn.ReLU(), nn.Linear(200, 84), nn.ReLU(), nn.Linear(84, 5),
)
n = {32 * EPOCH_STEPS}
images, labels = torch.randn(n, 3, 64, 64), torch.randint(0, 5, (n,))
loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(images, labels), batch_size=32, shuffle=True
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
criterion = nn.CrossEntropyLoss()
for epoch in range({TIMED_FROM[1] + TIMED_EPOCHS}):
    if epoch in {TIMED_FROM}:
        start, processor = time.perf_counter(), time.process_time()
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    if epoch + 1 - {TIMED_EPOCHS} in {TIMED_FROM}:
        print(time.perf_counter() - start, time.process_time() - processor)
"""


Times = tuple[float, float]
"""Seconds of the wall clock, and of the processor."""


def blocks_of(
    make: Callable[[], nn.Module], side: int, batch: int, blocks: int, device: str
) -> list[tuple[Times, Times]]:
    """Times of 64 steps without and with the monitor, a pair a block."""
    images = torch.randn(batch, 3, side, side, device=device)
    targets = torch.randint(0, N_CLASSES, (batch,), device=device)
    torch.manual_seed(0)
    plain, watched = make().to(device), make().to(device)
    watched.load_state_dict(plain.state_dict())
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.01) for m in (plain, watched)]
    monitor = Monitor(model=watched, optimizer=optimizers[1])

    def step(which: int) -> Times:
        model, optimizer = (plain, watched)[which], optimizers[which]
        wall, processor = time.perf_counter(), time.process_time()
        logits = model(images)
        loss = functional.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if which:
            monitor.step(logits, targets, loss)
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - wall, time.process_time() - processor

    for turn in range(2 * WARM_UP):
        step(turn % 2)
    found = []
    for _ in range(blocks):
        # Which goes first alternates too: what one leaves in the caches the other finds.
        pairs = [(step(0), step(1)) if i % 2 else (step(1), step(0))[::-1] for i in range(BLOCK)]
        found.append((_sums(one for one, _ in pairs), _sums(two for _, two in pairs)))
    return found


class Kept(Rhythm):
    """Keeps its share of watched steps, where the clock counts steps of others too."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.watched_share = share

    def _look(self, spent: float) -> None:
        pass


def turns_of(
    make: Callable[[], nn.Module], side: int, batch: int, steps: int, *, settled: bool
) -> tuple[list[tuple[Times, Times]], float]:
    """Times of a step without and with the session of `everyclass run`, a pair each.

    Args:
        settled: take turns after the session has found its share of watched steps by itself;
            else every step is watched.
    Returns:
        The times, and the share.
    """
    torch.manual_seed(0)
    session = Session(rhythm=None if settled else Kept(1.0))
    patches = Patches(session)
    patches.install()
    try:
        model = make()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        data = TensorDataset(
            torch.randn(16 * batch, 3, side, side), torch.randint(0, N_CLASSES, (16 * batch,))
        )
        loader = DataLoader(data, batch_size=batch, shuffle=True)
        criterion = nn.CrossEntropyLoss()
        found = []
        batches = _forever(loader)

        def step(watched: bool) -> Times:
            session.active = watched
            wall, processor = time.perf_counter(), time.process_time()
            images, targets = next(batches)
            optimizer.zero_grad()
            loss = criterion(model(images), targets)
            loss.backward()
            optimizer.step()
            return time.perf_counter() - wall, time.process_time() - processor

        if settled:
            for _ in range(EVERY_STEP_UNTIL + 4 * COST_BLOCK):
                step(True)
            session.rhythm = Kept(session.rhythm.watched_share)
        before = session.steps
        for i in range(steps):
            # Which goes first alternates too: what one leaves in the caches the other finds.
            found.append((step(False), step(True)) if i % 2 else (step(True), step(False))[::-1])
            if session.failure is not None:
                raise session.failure
    finally:
        patches.remove()
    if session.steps - before != steps:
        raise RuntimeError(f"{session.steps - before} of {steps} steps were seen")
    return found, session.rhythm.watched_share


def _forever(loader: DataLoader[tuple[torch.Tensor, ...]]) -> Iterator[list[torch.Tensor]]:
    while True:
        yield from loader


def in_blocks(pairs: list[tuple[Times, Times]]) -> list[tuple[Times, Times]]:
    """Sums over blocks of pairs; what is left over is left out."""
    starts = range(0, len(pairs) - BLOCK + 1, BLOCK)
    parts = [pairs[start : start + BLOCK] for start in starts]
    return [(_sums(one for one, _ in part), _sums(two for _, two in part)) for part in parts]


def _sums(times: Iterable[Times]) -> Times:
    wall, processor = zip(*times)
    return sum(wall), sum(processor)


def print_row(name: str, unit: float, pairs: list[tuple[Times, Times]]) -> None:
    """A row of the table.

    Args:
        unit: steps that a pair's times are of.
    """
    base = statistics.median(without[0] for without, _ in pairs) / unit
    cells = []
    for clock in (0, 1):
        ratios = sorted(with_[clock] / without[clock] - 1 for without, with_ in pairs)
        cells.append(f"{statistics.median(ratios):+.1%} ({ratios[0]:+.1%} to {ratios[-1]:+.1%})")
    print(f"| {name} | {1000 * base:.1f} ms | {cells[0]} | {cells[1]} | {len(pairs)} |", flush=True)


def script_pairs(repeats: int) -> list[list[tuple[Times, Times]]]:
    """For either part of the script the times without and with, a pair a run."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(SCRIPT)
        plain = [sys.executable, str(script)]
        watched = [sys.executable, "-m", "everyclass", "run", str(script)]
        runs = [(_times(plain), _times(watched)) for _ in range(repeats)]
    return [[(one[part], two[part]) for one, two in runs] for part in range(len(TIMED_FROM))]


def _times(command: list[str]) -> list[Times]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    times = [row for row in rows if len(row) == 2 and row[0].replace(".", "", 1).isdigit()]
    return [(float(wall), float(processor)) for wall, processor in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--blocks", type=int, default=5, help="of 64 pairs of steps, a network")
    parser.add_argument("--repeats", type=int, default=5, help="of the script, either way")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    print("| what | a step without | wall time | processor time | n |\n|---|---|---|---|---|")

    def resnet() -> nn.Module:
        return timm.create_model("resnet18", num_classes=N_CLASSES)

    networks = (
        ("tutorial's CNN 64 px batch 32", _tutorial(64), 64, 32, 4 * options.blocks),
        ("tutorial's CNN 256 px batch 4", _tutorial(256), 256, 4, 2 * options.blocks),
        ("ResNet-18 64 px batch 32", resnet, 64, 32, options.blocks),
    )
    parts = set(options.parts)
    for name, make, side, batch, blocks in networks if "monitor" in parts else ():
        pairs = blocks_of(make, side, batch, blocks, options.device)
        print_row(f"monitor, {name}", BLOCK, pairs)
    for name, make, side, batch, blocks in networks if "turns" in parts else ():
        steps = (EARLY_BLOCKS + blocks) * BLOCK
        pairs = in_blocks(turns_of(make, side, batch, steps, settled=False)[0])
        early = f"first {EARLY_BLOCKS * BLOCK} steps"
        print_row(f"run in turns, {name}, {early}", BLOCK, pairs[:EARLY_BLOCKS])
        print_row(f"run in turns, {name}, later, every step", BLOCK, pairs[EARLY_BLOCKS:])
    for name, make, side, batch, blocks in networks[:2] if "settled" in parts else ():
        times, share = turns_of(make, side, batch, blocks * BLOCK, settled=True)
        when = f"after step {EVERY_STEP_UNTIL:,} (1 step in {1 / share:.0f})"
        print_row(f"run in turns, {name}, {when}", BLOCK, in_blocks(times))
    whole = script_pairs(options.repeats) if "script" in parts else []
    for first, pairs in zip(TIMED_FROM, whole):
        name = f"tutorial's CNN 64 px batch 32, from step {first * EPOCH_STEPS:,}"
        print_row(f"whole script, {name}", TIMED_EPOCHS * EPOCH_STEPS, pairs)


def _tutorial(side: int) -> Callable[[], nn.Module]:
    return lambda: TutorialCNN(in_channels=3, side=side, n_classes=N_CLASSES)


if __name__ == "__main__":
    main()
