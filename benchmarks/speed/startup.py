"""How long a user waits before anything happens, beside the limits that the project set itself.

    python benchmarks/speed/startup.py FOLDER [--runs 7]

- `everyclass --help`: at most a fifth of `import torch`;
- `everyclass audit` of 100 images of FOLDER (a folder of class folders), the whole command: under
  1.5 s, without a cache, with one that is empty, and with what the run before left in it.

Each figure is the median of `--runs` fresh processes, which alternate; files and byte code are in
the page cache. Beside the clock, processor seconds (user and system), least of the runs: on a
machine that does other work too they say more.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMAGES = 100
AUDIT_LIMIT_S = 1.5
HELP_LIMIT = 0.2  # of `import torch`


def run(arguments: list[str], cache: Path) -> tuple[float, float]:
    """Seconds on the clock and of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "EVERYCLASS_CACHE": str(cache)},
    )
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def sample(folder: Path, to: Path) -> None:
    """A hundred images of all classes, linked or copied."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files[:: max(1, len(files) // IMAGES)][:IMAGES]:
        target = to / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        images, cache = Path(scratch) / "images", Path(scratch) / "cache"
        sample(arguments.folder, images)
        audit = ["-m", "everyclass", "audit", str(images)]
        commands = {
            "import torch": ["-c", "import torch"],
            "everyclass --help": ["-m", "everyclass", "--help"],
            "audit --no-cache": [*audit, "--no-cache"],
            "audit, empty cache": audit,
            "audit again": audit,
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for turn in range(arguments.runs + 1):
            shutil.rmtree(cache, ignore_errors=True)
            for name, command in commands.items():
                times = run(command, cache)
                if turn:  # the first one warms up
                    found[name].append(times)
    report(found)


def report(found: dict[str, list[tuple[float, float]]]) -> None:
    load = os.getloadavg()[0]
    runs = len(found["import torch"])
    print(f"{len(os.sched_getaffinity(0))} cores, load {load:.1f}, n = {runs}")
    wall = {name: statistics.median(one for one, _ in times) for name, times in found.items()}
    used = {name: min(one for _, one in times) for name, times in found.items()}
    for name, times in found.items():
        low, high = min(one for one, _ in times), max(one for one, _ in times)
        limit = ""
        if name == "everyclass --help":
            limit = (
                f"{wall[name] / wall['import torch']:.2f} of import torch (limit {HELP_LIMIT:g}); "
                f"of processor time {used[name] / used['import torch']:.2f}"
            )
        elif name.startswith("audit"):
            limit = f"limit {AUDIT_LIMIT_S:g} s"
        print(
            f"{name:20} {wall[name]:6.2f} s  ({low:.2f} to {high:.2f})  processor "
            f"{used[name]:5.2f} s  {limit}"
        )


if __name__ == "__main__":
    main()
