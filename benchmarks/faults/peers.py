"""The peers of the fault benchmark: tools a user can install today, on the same scripts.

    python benchmarks/faults/peers.py --out OUT --healthy 6 --faulty 12
    python benchmarks/faults/peers.py --out OUT --runs RESULTS.jsonl   the runs another file names
    python benchmarks/faults/peers.py --out OUT --shard 0/2            one half; elsewhere, 1/2
    python benchmarks/faults/peers.py --out OUT --report               what OUT holds
    python benchmarks/faults/peers.py --out OUT --peers torchtest2,torcheck

Each peer is installed into an environment of its own (`--environments`, by default in the system's
temporary folder) and attached to each script as its manual says (`peers/adapters`). The control is
the same script with the calls that do nothing: what it prints says what the run came to (`truth`),
and its seconds are what a peer's are compared with. A finished run of a peer is one line of
OUT/peers*.jsonl and is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from peers.environments import Installed, installed
from peers.runs import Run, from_file, from_registry, part_of
from peers.table import print_report
from peers.tools import CONTROL, PEERS
from run import SET_FOLDERS, prepare_images
from truth import Truth, truth_of

HERE = Path(__file__).parent
TIME_LIMIT_SECONDS = 600


def main() -> None:
    options = parsed()
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.report:
        run_all(chosen(options), options)
    print_report(read(options.out, "peers*.jsonl"), read(options.out, "installed*.jsonl"))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--healthy", type=int, help="runs of healthy scripts (default: each once)")
    parser.add_argument("--faulty", type=int, help="runs of faulty scripts (default: each once)")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, help="JSON lines that name runs, instead of these")
    parser.add_argument("--only", default="", help="regular expression on a run's key")
    parser.add_argument("--shard", default="0/1", help="i/n: runs i, i + n, i + 2n, ...")
    names = ",".join(peer.name for peer in PEERS)
    parser.add_argument("--peers", default=names, help=f"comma-separated (default: {names})")
    parser.add_argument(
        "--environments", type=Path, default=Path(tempfile.gettempdir()) / "everyclass-peers"
    )
    parser.add_argument("--data-root", type=Path, default=os.environ.get("EVERYCLASS_DATA"))
    parser.add_argument("--report", action="store_true", help="print only")
    options = parser.parse_args()
    unknown = set(options.peers.split(",")) - {peer.name for peer in PEERS}
    if unknown:
        parser.error(f"no peer is called {', '.join(sorted(unknown))} (there are {names})")
    return options


def chosen(options: argparse.Namespace) -> list[Run]:
    """The runs asked for."""
    if options.runs:
        try:
            runs = from_file(options.runs)
        except (OSError, ValueError) as error:
            print(f"--runs: {error}", file=sys.stderr)
            sys.exit(2)
    else:
        runs = from_registry(
            healthy=options.healthy, faulty=options.faulty, first_seed=options.first_seed
        )
    return part_of(runs, only=options.only, shard=options.shard)


def run_all(runs: list[Run], options: argparse.Namespace) -> None:
    """Every run under the control and under each peer, one process at a time."""
    wanted = options.peers.split(",")
    ready = [installed(peer, options.environments) for peer in PEERS if peer.name in wanted]
    shard = options.shard.replace("/", "-of-")
    (options.out / f"installed-{shard}.jsonl").write_text(
        "".join(json.dumps({**asdict(one), "python": ""}) + "\n" for one in ready)
    )
    control = Installed(peer=CONTROL, package="", python=sys.executable, ok=True)
    images = prepare_images(options.out / "images", options.data_root)
    os.environ["DATA"] = str(options.data_root or "")  # where whole scripts look for images
    runs = [run for run in runs if missing_set(run.text, images) is None]
    done = {(row["peer"], row["key"]) for row in read(options.out, "peers*.jsonl")}
    left = [
        (peer, run)
        for run in runs
        for peer in (control, *ready)
        if peer.ok and (peer.peer, run.key) not in done
    ]
    results = options.out / f"peers-{shard}.jsonl"
    for i, (peer, run) in enumerate(left):
        row = result_of(peer, run, images)
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(
            f"[{len(left) - i - 1:4d} left] {row['seconds']:6.1f} s  {peer.peer:16s} {run.key}"
            f"{'  FAILED' if row['failure'] else ''}",
            file=sys.stderr,
            flush=True,
        )


def missing_set(text: str, images: Path) -> str | None:
    """An image folder that the script reads and that is not there."""
    for folder in SET_FOLDERS.values():
        if re.search(rf"[\"']{folder}[\"']", text) and not (images / folder).exists():
            return folder
    return None


def result_of(peer: Installed, run: Run, images: Path) -> dict[str, Any]:
    """Run one script with one peer; the line of results."""
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        place = Path(folder)
        (place / "train.py").write_text(run.text)
        command = [peer.python, "-m", "peers.attach", peer.peer, "train.py"]
        if run.outcome is None:
            # The registry's scripts take these; those of other authors find their images alone.
            command += ["--root", str(images), "--seed", str(run.seed)]
        environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
        started = time.monotonic()
        try:
            done = subprocess.run(
                command,
                cwd=place,
                env=environment,
                capture_output=True,
                timeout=TIME_LIMIT_SECONDS,
                check=False,
            )
            stdout, stderr, code = done.stdout.decode(), done.stderr.decode(), done.returncode
        except subprocess.TimeoutExpired:
            stdout, stderr, code = "", f"not done after {TIME_LIMIT_SECONDS} s", -1
        seconds = time.monotonic() - started
        path = place / "said.json"
        told = json.loads(path.read_text()) if path.exists() else {"said": [], "failure": ""}
    failure = told["failure"] or (last_line(stderr) if code != 0 else "")
    return {
        "peer": peer.peer,
        "key": run.key,
        "cause": run.cause,
        "accepts": list(run.accepts),
        "seconds": round(seconds, 2),
        "truth": asdict(
            truth_of(stdout)
            if run.outcome is None
            else Truth(outcome=run.outcome, reason="as its author saw it")
        ),
        "printed": [line for line in stdout.splitlines() if " confusion: " in line],
        "said": told["said"],
        "failure": failure,
    }


def last_line(stderr: str) -> str:
    lines = stderr.strip().splitlines()
    return lines[-1][:500] if lines else "no word"


def read(out: Path, pattern: str) -> list[dict[str, Any]]:
    """The lines of these files; of a line that is there twice, the last."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted(out.glob(pattern)):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            rows[row["peer"], row.get("key", "")] = row
    return list(rows.values())


if __name__ == "__main__":
    main()
