"""All benchmarks of speed, one after the other, in one command.

    python benchmarks/speed/everything.py FOLDER [--peer-python peer/bin/python] [--data DATA]
        [--out speed.txt] [--quick]

FOLDER holds a folder a class. `peer/bin/python` has what peers need (`pip install
cleanvision==0.3.7 fastai==2.8.12`); without it these peers are left out, and that is said. DATA has
trashnet/ and pbc_128/ for the time to quality. Plots go to a folder OUT-plots. `--quick` takes few
images and repeats: for a look, not for figures.

Everything that is printed goes to OUT as well, with each command above its figures, in the form in
which `benchmarks/RESULTS.md` keeps them. What one script measures, and what each peer does for an
image, stands in that script. A script that fails is told at the end; the others go on.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

HERE = Path(__file__).parent
SMALL_SCALES = ["--images", "1000", "--classes", "2", "10", "--sides", "64", "512"]


def commands(options: argparse.Namespace) -> list[list[str]]:
    """Each script with its arguments, the quick ones first."""
    folder, quick = str(options.folder), options.quick
    peer = ["--peer-python", options.peer_python] if options.peer_python else []
    few = ["--repeats", "2"] if quick else []
    found = [
        ["startup.py", folder, *(["--runs", "3"] if quick else [])],
        ["audit.py", folder, *peer, *(["--runs", "1"] if quick else [])],
        *([["agreement.py", folder, *peer]] if peer else []),
        ["scaling.py", "--plots", f"{options.out}-plots", *(SMALL_SCALES if quick else [])],
        ["jpeg_scale.py", folder, *(["--images", "10"] if quick else [])],
        ["manifest.py", *(["--rows", "100000", "--rounds", "1"] if quick else [])],
        ["predict.py", folder, *(["--images", "200"] if quick else []), *few],
    ]
    images = ["--images", "96"] if quick else []
    epochs = ["--epochs", "2"] if quick else []
    found += [
        ["epoch.py", folder, *images, *few, *peer],
        ["epoch.py", folder, "--network", "tutorial", *images, *few],
        ["epoch.py", folder, "--network", "tutorial", "--side", "256", *images, *few],
        ["epoch.py", folder, "--enlarge", "--side", "128", *(images or ["--images", "192"]), *few],
        ["profile_epoch.py", folder, "--image-size", "64", *epochs],
        ["profile_epoch.py", folder, "--image-size", "64", "--model", "tutorial", *epochs],
    ]
    if peer and options.data:
        sets = ["trashnet"] if quick else ["trashnet", "pbc-lt-50"]
        found.append(["time_to_quality.py", *sets, *peer, "--data", str(options.data)])
    return found


def machine() -> str:
    """One line: processor, cores, load."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((one.split(": ")[1] for one in lines if one.startswith("model name")), model)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{model}, {os.cpu_count()} cores{load}, Python {platform.python_version()}"


def told(line: str, out: TextIO) -> None:
    print(line, flush=True)
    print(line, file=out, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer-python", help="a Python with cleanvision and fastai")
    parser.add_argument("--data", type=Path, default=os.environ.get("EVERYCLASS_DATA"))
    parser.add_argument("--out", type=Path, default=Path("speed.txt"))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    failed = []
    with open(options.out, "w") as out:
        told(f"{time.strftime('%Y-%m-%d')}, {machine()}", out)
        if not options.peer_python:
            told("Without --peer-python: CleanVision and fastai are left out.", out)
        for script, *arguments in commands(options):
            told(f"\n$ python benchmarks/speed/{' '.join([script, *arguments])}", out)
            started = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, str(HERE / script), *arguments],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            for line in process.stdout:
                told(line.rstrip("\n"), out)
            if process.wait():
                failed.append(script)
                told(f"({script} failed, see above)", out)
            told(f"({time.monotonic() - started:.0f} s)", out)
        if failed:
            told(f"\nFailed: {', '.join(failed)}.", out)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
