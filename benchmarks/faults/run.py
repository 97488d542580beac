"""The fault benchmark: real training scripts, healthy and broken, run under `everyclass run`.

    python benchmarks/faults/run.py --out OUT                       every script once
    python benchmarks/faults/run.py --out OUT --healthy 400 --faulty 0 --in-process
    python benchmarks/faults/run.py --out OUT --shard 0/2           one half; another machine, 1/2
    python benchmarks/faults/run.py --out OUT --report              what OUT holds, nothing is run
    python benchmarks/faults/run.py --out OUT --unwatched           the scripts alone: their truth
    python benchmarks/faults/run.py --out OUT --held-out            guises kept aside, instead

A run is one script (`guises/`, composed by `compose`) with one seed, started as a user would start
it. A finished run is one line of OUT/results*.jsonl and is not run again, so the benchmark can be
stopped, continued, and divided (`--shard`); files of several machines may be put into one folder.

- *Truth* comes from the script: its last lines print what its training and validation images were
  recognised as (`truth`). The intention of the script plays no part.
- A *detection* is a finding of severity `alarm`, or a last verdict other than `healthy`, in a run
  whose truth is "broken"; its *delay* is the step of the first alarm less the step at which the
  fault begins to act (for faults that show in evaluation only, the step of the first one).
- A *false alarm* is either of the two in a run whose truth is "sound".
- Runs "between" count for neither; they, misses and false alarms are listed by name, and their
  run folders are kept in OUT/kept.

Image sets: digits (of scikit-learn), the demo's slides (written once into OUT/images), and
trashnet/ and pbc_128/ (a folder a class) where `--data-root`, or EVERYCLASS_DATA, has them.
`--in-process` saves the seconds in which Python imports torch: each run is a fork of one process
that has imported it and enters the same command.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import math
import multiprocessing
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compose import compose
from registry import Cell, cells
from report import print_report
from truth import Truth, truth_of

SET_FOLDERS = {"trashnet": "trashnet", "pbc": "pbc_128"}
IMPORTED_ONCE = ("sklearn.datasets", "torch", "torchvision", "pytorch_lightning", "transformers")
TIME_LIMIT_SECONDS = 600
DEFAULT_BATCH, DEFAULT_EVALUATION = 32, 100


def main() -> None:
    options = parsed()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    if not options.report:
        images = prepare_images(out / "images", options.data_root)
        wanted = chosen(options, {found.name for found in images.iterdir()})
        done = {row["key"] for row in read_results(out)}
        run_all([cell for cell in wanted if cell.key not in done], images, options)
    print_report(read_results(out))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--healthy", type=int, help="runs of healthy scripts (default: each once)")
    parser.add_argument("--faulty", type=int, help="runs of faulty scripts (default: each once)")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only", default="", help="regular expression on a run's name")
    parser.add_argument("--held-out", action="store_true", help="guises kept aside, instead")
    parser.add_argument("--shard", default="0/1", help="i/n: runs i, i + n, i + 2n, ...")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--data-root", type=Path, default=os.environ.get("EVERYCLASS_DATA"))
    parser.add_argument("--in-process", action="store_true", help="fork instead of a new Python")
    parser.add_argument("--unwatched", action="store_true", help="the scripts alone")
    parser.add_argument("--report", action="store_true", help="print only")
    options = parser.parse_args()
    if options.held_out and options.healthy:
        parser.error("no healthy script is kept aside: leave out --healthy or --held-out.")
    return options


def chosen(options: argparse.Namespace, sets: set[str]) -> list[Cell]:
    """The runs asked for, of sets that are there, in an order that shards share fairly."""
    wanted: list[Cell] = []
    for healthy, number in ((True, options.healthy), (False, options.faulty)):
        once = [
            cell
            for cell in cells(seeds=1, healthy=healthy, held_out=options.held_out)
            if SET_FOLDERS.get(cell.at.images, "demo") in sets
            and re.search(options.only, cell.script_name)
        ]
        number = len(once) if number is None else number
        for k in range(number if once else 0):
            cell = once[k % len(once)]
            seed = options.first_seed + k // len(once)
            wanted.append(Cell(cause=cell.cause, guise=cell.guise, at=cell.at, seed=seed))
    index, of = map(int, options.shard.split("/"))
    return wanted[index::of]


def prepare_images(folder: Path, data_root: str | Path | None) -> Path:
    """A folder with the sets that are there, under the names that scripts use."""
    folder.mkdir(exist_ok=True)
    if not (folder / "demo" / "train.csv").exists():
        from everyclass.images.synthetic import write_demo_images

        write_demo_images(folder / "demo", n=1000, side=64, threads=2)
    for name in SET_FOLDERS.values():
        if data_root and (Path(data_root) / name).is_dir() and not (folder / name).exists():
            (folder / name).symlink_to((Path(data_root) / name).resolve())
    return folder.resolve()


# -- running ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Running:
    """A run on its way."""

    cell: Cell
    folder: Path
    child: subprocess.Popen[bytes] | multiprocessing.Process
    started: float

    @property
    def pid(self) -> int:
        assert self.child.pid is not None
        return self.child.pid

    def code(self) -> int | None:
        """The exit code, None while it runs."""
        if isinstance(self.child, subprocess.Popen):
            return self.child.poll()
        return self.child.exitcode


def run_all(wanted: list[Cell], images: Path, options: argparse.Namespace) -> None:
    """Run them, `--jobs` at a time; a line of results after each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if options.in_process and wanted:
        for name in IMPORTED_ONCE:
            importlib.import_module(name)
        import torch

        torch.set_num_threads(1)
    results = options.out / f"results-{options.shard.replace('/', '-of-')}.jsonl"
    waiting, running = list(reversed(wanted)), []
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        while waiting or running:
            while waiting and len(running) < options.jobs:
                running.append(start(waiting.pop(), Path(scratch), images, options))
            time.sleep(0.05)
            for one in list(running):
                code = one.code()
                if code is None and time.monotonic() - one.started > TIME_LIMIT_SECONDS:
                    os.kill(one.pid, signal.SIGKILL)
                elif code is not None:
                    running.remove(one)
                    row = outcome(one, code, options)
                    with results.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    left = len(waiting) + len(running)
                    print(progress(row, left), file=sys.stderr, flush=True)
                    shutil.rmtree(one.folder)


def start(cell: Cell, scratch: Path, images: Path, options: argparse.Namespace) -> Running:
    """Write the script into a folder of its own and start it there."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    (folder / "train.py").write_text(compose(cell.guise, cell.at))
    script = ["train.py", "--root", str(images), "--seed", str(cell.seed)]
    watched = ["run", "--out", "watch", "--budget", "0", *script]  # detection alone
    started = time.monotonic()
    if options.in_process:
        context = multiprocessing.get_context("fork")
        child = context.Process(
            target=forked, args=(folder, script if options.unwatched else watched)
        )
        child.start()
        return Running(cell, folder, child, started)
    command = script if options.unwatched else ["-m", "everyclass", *watched]
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=folder, stdout=stdout, stderr=stderr
        )
    return Running(cell, folder, process, started)


def forked(folder: Path, arguments: list[str]) -> None:
    """In the child: what the command line would do, with output into files."""
    os.chdir(folder)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), descriptor)
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), write_through=True)
    sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", closefd=False), write_through=True)
    if arguments[0] == "run":
        from everyclass.cli import main as entry

        sys.argv = ["everyclass", *arguments]
        entry(arguments)
    else:
        sys.argv = arguments
        sys.path[0] = str(folder)
        runpy.run_path(arguments[0], run_name="__main__")


def outcome(one: Running, code: int, options: argparse.Namespace) -> dict[str, Any]:
    """The line of results: what it was, what came of it, what was said about it."""
    cell = one.cell
    stdout = (one.folder / "stdout").read_text(errors="replace")
    stderr = (one.folder / "stderr").read_text(errors="replace")
    truth = truth_of(stdout)
    row: dict[str, Any] = {
        "key": cell.key,
        "script": cell.script_name,
        "cause": cell.cause,
        "guise": cell.guise.name,
        "accepts": [cell.cause, *cell.guise.accepts],
        "place": cell.at.name,
        "base": cell.guise.script,
        "seed": cell.seed,
        "code": code,
        "seconds": round(time.monotonic() - one.started, 2),
        "truth": asdict(truth),
        "begins": begins(cell, truth),
        "watched": not options.unwatched,
    }
    if code != 0:
        row["error"] = stderr[-600:]
    if not options.unwatched:
        told = read_findings(one.folder / "watch" / "findings.json")
        row.update(told)
        if row["alarmed"] == (truth.outcome == "sound") or truth.outcome == "unknown":
            keep(one.folder, options.out / "kept" / re.sub(r"[^\w=.-]+", "_", cell.key))
    return row


def begins(cell: Cell, truth: Truth) -> int:
    """The step at which the fault begins to act; for evaluation faults, of the first one."""
    if cell.guise.begins is not None:
        return cell.guise.begins
    settings = dict(cell.at.settings)
    if cell.guise.script == "iterations":
        return int(settings.get("eval_every", DEFAULT_EVALUATION))
    return math.ceil(truth.train_images / settings.get("batch_size", DEFAULT_BATCH))


def read_findings(path: Path) -> dict[str, Any]:
    """What `everyclass run` said: verdict, findings, the first alarm."""
    if not path.exists():
        return {
            "verdict": None,
            "findings": [],
            "alarm_step": None,
            "alarmed": False,
            "accused": [],
        }
    told = json.loads(path.read_text())
    findings = [
        {name: one.get(name) for name in ("id", "severity", "since_step", "seen_step", "sentence")}
        for one in told["findings"]
    ]
    alarms = [one["seen_step"] for one in findings if one["severity"] == "alarm"]
    return {
        "verdict": told["verdict"],
        "phase": told.get("phase"),
        "step": told.get("step"),
        "findings": findings,
        "alarm_step": min(alarms, default=None),
        "alarmed": bool(alarms) or told["verdict"] not in (None, "healthy"),
        "accused": sorted(
            {one["cause"] for one in told.get("checks", ()) if one["outcome"] == "issue"}
        ),
    }


def keep(folder: Path, kept: Path) -> None:
    """Copy what is needed to look at a run again."""
    shutil.rmtree(kept, ignore_errors=True)
    kept.parent.mkdir(exist_ok=True)
    shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("*.pt", "*.npy", "*.safetensors"))


def progress(row: dict[str, Any], left: int) -> str:
    said = row.get("verdict") or ""
    mark = "ALARM" if row.get("alarmed") else ""
    return (
        f"[{left:4d} left] {row['seconds']:6.1f} s  {row['truth']['outcome']:8s} {said:12s} "
        f"{mark:5s} {row['key']}"
    )


def read_results(out: Path, name: str = "results") -> list[dict[str, Any]]:
    """Every finished run in the folder; of a run that is there twice, the last.

    Args:
        name: that the files of such lines begin with.
    """
    rows: dict[str, dict[str, Any]] = {}
    for path in sorted(out.glob(f"{name}*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            rows[row["key"]] = row
    return list(rows.values())


if __name__ == "__main__":
    main()
