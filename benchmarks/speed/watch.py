"""What watching costs: the same training with and without, interleaved; ratios of medians.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/speed/watch.py [--repeats 5] [--device cpu]

Monitor: `monitor.step` with the layers watched, in a plain loop on constant batches, for a
ResNet-18 (64 px, batch 32; at most 1 % wanted) and the tutorial's CNN (64 px, batch 32, and 256 px,
batch 4 as the tutorial has it; at most 5 % wanted). Each repeat times 128 steps of either kind in
turns of 16, so that a busy neighbour hits both.

Run: a script that trains the tutorial's CNN, as `python script.py` and as `everyclass run
script.py`, which prints the seconds of its own loop, start-up left out (at most 3 % wanted).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from torch import nn
from torch.nn import functional

from everyclass.models.tutorial import TutorialCNN
from everyclass.monitoring.monitor import Monitor

STEPS, TURN = 128, 16

SCRIPT = """\
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
images, labels = torch.randn(512, 3, 64, 64), torch.randint(0, 5, (512,))
loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(images, labels), batch_size=32, shuffle=True
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
criterion = nn.CrossEntropyLoss()
for epoch in range(15):
    if epoch == 3:  # the first epochs warm up
        start = time.perf_counter()
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
print(time.perf_counter() - start)
"""


def loop_seconds(
    make: Callable[[], nn.Module], side: int, batch: int, n_classes: int, device: str
) -> tuple[float, float]:
    """Seconds a step without and with the monitor, from turns of 16 steps each."""
    images = torch.randn(batch, 3, side, side, device=device)
    targets = torch.randint(0, n_classes, (batch,), device=device)
    torch.manual_seed(0)
    plain, watched = make().to(device), make().to(device)
    watched.load_state_dict(plain.state_dict())
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.01) for m in (plain, watched)]
    monitor = Monitor(model=watched, optimizer=optimizers[1])
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(2 * STEPS // TURN + 2):
        which = turn % 2
        model, optimizer = (plain, watched)[which], optimizers[which]
        start = time.perf_counter()
        for _ in range(TURN):
            logits = model(images)
            loss = functional.cross_entropy(logits, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if which:
                monitor.step(logits, targets, loss)
        if device != "cpu":
            torch.cuda.synchronize()
        if turn >= 2:  # the first turn of either kind warms up
            seconds[which].append((time.perf_counter() - start) / TURN)
    # Means, not medians, inside a repeat: every 32nd step reads a block and must count.
    return statistics.mean(seconds[0]), statistics.mean(seconds[1])


def monitor_row(
    name: str, make: Callable[[], nn.Module], side: int, batch: int, repeats: int, device: str
) -> None:
    pairs = [loop_seconds(make, side, batch, 5, device) for _ in range(repeats)]
    ratios = sorted(with_ / without for without, with_ in pairs)
    base = statistics.median(without for without, _ in pairs)
    print(
        f"| monitor, {name} | {1000 * base:.2f} ms | {statistics.median(ratios) - 1:+.2%} "
        f"| {ratios[0] - 1:+.2%} to {ratios[-1] - 1:+.2%} | {repeats} |",
        flush=True,
    )


def script_row(repeats: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(SCRIPT)
        pairs = []
        for _ in range(repeats):
            plain = _seconds([sys.executable, str(script)])
            watched = _seconds([sys.executable, "-m", "everyclass", "run", str(script)])
            pairs.append((plain, watched))
    ratios = sorted(watched / plain for plain, watched in pairs)
    base = statistics.median(plain for plain, _ in pairs)
    print(
        f"| everyclass run, tutorial's CNN 64 px batch 32 | {base:.2f} s "
        f"| {statistics.median(ratios) - 1:+.2%} "
        f"| {ratios[0] - 1:+.2%} to {ratios[-1] - 1:+.2%} | {repeats} |"
    )


def _seconds(command: list[str]) -> float:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    print("| what | without | median change | range | n |\n|---|---|---|---|---|")

    def resnet() -> nn.Module:
        return timm.create_model("resnet18", num_classes=5)

    for name, make, side, batch in (
        ("ResNet-18 64 px batch 32", resnet, 64, 32),
        ("tutorial's CNN 64 px batch 32", _tutorial(64), 64, 32),
        ("tutorial's CNN 256 px batch 4", _tutorial(256), 256, 4),
    ):
        monitor_row(name, make, side, batch, options.repeats, options.device)
    script_row(options.repeats)


def _tutorial(side: int) -> Callable[[], nn.Module]:
    return lambda: TutorialCNN(in_channels=3, side=side, n_classes=5)


if __name__ == "__main__":
    main()
