"""runmedic: reads the curves of a run afterwards.

A user logs, each step, the loss, the rate and the gradient norm, and the validation loss after each
evaluation, into a CSV file, and then types

    runmedic diagnose metrics.csv

The scripts' own output would do as well, its manual says, but most print one line an epoch, fewer
than any of its checks needs: the file is the more generous way.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from peers.adapters.base import Adapter as Base
from peers.adapters.base import Level, Moment, gradient_norm

LEVELS: dict[str, Level] = {"critical": "error", "warning": "warning", "info": "info"}
COLUMNS = ("step", "train_loss", "val_loss", "lr", "grad_norm")


class Adapter(Base):
    """Keeps the rows; at the end, writes them and asks the command."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []

    def backward(self, moment: Moment, loss: float) -> None:
        norm = gradient_norm(moment.model)
        row = {"step": moment.step, "train_loss": loss, "lr": moment.rate, "grad_norm": norm}
        self.rows.append(row)

    def evaluated(self, moment: Moment, loss: float) -> None:
        self.rows.append({"step": moment.step, "val_loss": loss})

    def end(self) -> None:
        if not self.rows:
            return
        path = Path("metrics.csv")
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)
        command = [sys.executable, "-m", "runmedic", "diagnose", str(path), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        for run in json.loads(done.stdout):
            for finding in run["findings"]:
                text = " | ".join(
                    [finding["title"], *finding["evidence"], *finding["likely_causes"]]
                )
                self.say(finding["check"], LEVELS[finding["severity"]], text)
