"""Whole scripts by people who know nothing of the watch: the cause, and sound ones left alone.

    python benchmarks/faults/whole.py FOLDER --out OUT [--budget 40] [--jobs 2] [--only REGEX]
    python benchmarks/faults/whole.py FOLDER --out OUT --report        what OUT holds
    python benchmarks/faults/whole.py FOLDER --out OUT --runs FILE     the same runs for peers.py

`FOLDER/labels.json` says of each script which causes are right (none: it is sound), and for a
broken one its repaired twin: {"train.py": {"accepted": ["stream-sorted"], "twin": "train_ok.py",
"why": "..."}}. The labels are fixed before anything is run. The guises of `causes.py` are edits of
six scripts; here every script is somebody's own, from its imports to its last print.

Every script runs in a working folder of its own under `everyclass run`, unmodified, and finds its
images by the environment variable DATA. A finished run is a line of OUT/whole.jsonl, its folder is
kept beside it. *Detected*: an alarm, a verdict other than healthy, or a cause named. *Accused*: the
same of a sound script. Intervals are Wilson's, 95 %.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from causes_report import share, table
from measure import Row, read_diagnosis
from run import read_findings

TIME_LIMIT_SECONDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One script.

    Attributes:
        path: of the file.
        accepted: cause ids that are right; empty for a sound script.
        why: what was done to it, or what looks suspicious in it.
    """

    path: Path
    accepted: tuple[str, ...]
    why: str


def main() -> None:
    options = parsed()
    scripts = [s for s in read_labels(options.folder) if re.search(options.only, s.path.name)]
    if options.runs is not None:
        options.runs.write_text("".join(json.dumps(as_peers_run(s)) + "\n" for s in scripts))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "whole.jsonl"
    if not options.report:
        done = {row["script"] for row in rows_of(results)}
        left = [script for script in scripts if script.path.name not in done]
        with ThreadPoolExecutor(options.jobs) as pool, results.open("a") as file:
            for row in pool.map(lambda script: watched(script, options), left):
                file.write(json.dumps(row) + "\n")
                file.flush()
                print(line(row), file=sys.stderr, flush=True)
    print(report(rows_of(results)))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=40.0, help="seconds for trials, each run")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--only", default="", help="regular expression on a script's name")
    parser.add_argument("--runs", type=Path, help="write the runs for peers.py --runs, run nothing")
    parser.add_argument("--report", action="store_true", help="print only")
    parser.add_argument("--data-root", type=Path, default=os.environ.get("EVERYCLASS_DATA"))
    return parser.parse_args()


def read_labels(folder: Path) -> list[Script]:
    """The scripts of a folder, each broken one before its sound twin."""
    found = []
    for name, told in sorted(json.loads((folder / "labels.json").read_text()).items()):
        accepted = tuple(told["accepted"])
        found.append(Script(path=folder / name, accepted=accepted, why=told["why"]))
        if told.get("twin"):
            found.append(Script(path=folder / told["twin"], accepted=(), why=f"twin of {name}"))
    return found


def as_peers_run(script: Script) -> Row:
    cause = script.accepted[0] if script.accepted else "healthy"
    key = f"{script.path.parent.name}/{script.path.name}"
    told = {"key": key, "cause": cause, "accepts": script.accepted, "seed": 0}
    outcome = "broken" if script.accepted else "sound"
    return {**told, "outcome": outcome, "text": script.path.read_text()}


def watched(script: Script, options: argparse.Namespace) -> Row:
    """The row of one script under `everyclass run`."""
    folder = options.out.resolve() / script.path.stem
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(script.path.parent, folder, ignore=shutil.ignore_patterns("*.json", "__pyc*"))
    command = [sys.executable, "-m", "everyclass", "run", "--out", "watch"]
    command += ["--budget", f"{options.budget:g}", script.path.name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DATA": str(options.data_root or "")}
    begun = time.monotonic()
    with (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as err:
        try:
            code = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdout=out,
                stderr=err,
                timeout=TIME_LIMIT_SECONDS,
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
    row: Row = {
        "script": script.path.name,
        "accepted": script.accepted,
        "why": script.why,
        "code": code,
        "seconds": round(time.monotonic() - begun, 1),
    }
    row |= read_findings(folder / "watch" / "findings.json")
    return row | read_diagnosis(folder / "watch" / "diagnosis.json")


def rows_of(results: Path) -> list[Row]:
    if not results.exists():
        return []
    return [json.loads(text) for text in results.read_text().splitlines()]


# -- what is printed -------------------------------------------------------------------------------


def line(row: Row) -> str:
    named = ", ".join(f"{one['id']}{'' if one['proved'] else '?'}" for one in row["named"][:3])
    wanted = "/".join(row["accepted"]) or "sound"
    return (
        f"{row['seconds']:6.1f} s  {mark(row)}  {row['script']} ({wanted}): {row['verdict']} -> "
        f"{named or '-'}   [checks: {', '.join(row['checks'][:4]) or '-'}]"
    )


def mark(row: Row) -> str:
    if not row["accepted"]:
        return "ACCUSED" if noticed(row) else "ok     "
    if right_by(row, 1):
        return "ok     "
    return "second " if right_by(row, 2) else "MISSED "


def noticed(row: Row) -> bool:
    return bool(row["alarmed"] or row["named"])


def right_by(row: Row, rank: int) -> bool:
    return any(one["id"] in row["accepted"] for one in row["named"][:rank])


def report(rows: list[Row]) -> str:
    """Markdown: rates with intervals, then every run."""
    broken = [row for row in rows if row["accepted"]]
    sound = [row for row in rows if not row["accepted"]]
    proved = [row for row in broken if row["named"] and row["named"][0]["proved"]]
    by_checks = [row for row in broken if row["checks"][:1] and row["checks"][0] in row["accepted"]]
    rates = [
        ("detected", share(sum(map(noticed, broken)), len(broken))),
        ("first cause right", share(sum(right_by(row, 1) for row in broken), len(broken))),
        ("right within two", share(sum(right_by(row, 2) for row in broken), len(broken))),
        ("first cause right by checks alone", share(len(by_checks), len(broken))),
        ("right where called proved", share(sum(right_by(r, 1) for r in proved), len(proved))),
        ("sound scripts accused", share(sum(map(noticed, sound)), len(sound))),
    ]
    listed = "\n".join(line(row) for row in sorted(rows, key=lambda row: row["script"]))
    return f"{table(('', 'of runs'), rates)}\n\n```\n{listed}\n```"


if __name__ == "__main__":
    main()
