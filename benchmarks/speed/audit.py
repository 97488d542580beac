"""Images a second of an audit: ours, CleanVision's, and the limit that decoding alone sets.

CleanVision lives in an environment of its own:

    python3 -m venv peer && peer/bin/pip install cleanvision==0.3.7
    python benchmarks/speed/audit.py DATA --peer-python peer/bin/python --cores 2

Each figure is the median of `--runs` runs in fresh processes, which alternate; imports and a
warm-up over the first 64 images stand outside the clock, the files are in the page cache. All use
the same cores. The two tools do not look for the same things: CleanVision measures brightness,
blur, entropy and aspect, and finds exact and near duplicates; ours takes statistics at the training
size, exact duplicates, leakage and label order. "decode only" reads and decodes with our decoder,
on as many threads, and does nothing else: what no audit of ours can exceed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version

OURS = """
import json, sys, time
from everyclass.images.audit import audit_images
from everyclass.images.readers import read_table
folder, side, cores = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
audit_images(read_table(folder).take(range(64)), side=side, threads=cores)
start = time.perf_counter()
table = read_table(folder)
audit_images(table, side=side, threads=cores)
print(json.dumps([len(table), time.perf_counter() - start]))
"""
DECODING = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
from everyclass.images.pixels import decode, read_bytes
from everyclass.images.readers import read_table
folder, cores = sys.argv[1], int(sys.argv[3])
images = list(read_table(folder).images)
def work(part):
    for image in part:
        decode(read_bytes(image))
with ThreadPoolExecutor(cores) as pool:
    list(pool.map(work, [images[:64]]))
    start = time.perf_counter()
    list(pool.map(work, [images[i : i + 32] for i in range(0, len(images), 32)]))
print(json.dumps([len(images), time.perf_counter() - start]))
"""
PEER = """
import contextlib, io, json, sys, time
from cleanvision import Imagelab
folder, cores = sys.argv[1], int(sys.argv[3])
if __name__ == "__main__":
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        start = time.perf_counter()
        lab = Imagelab(data_path=folder)
        lab.find_issues(n_jobs=cores, verbose=False)
        seconds = time.perf_counter() - start
    print(json.dumps([len(lab.issues), seconds]))
"""


def measure(python: str, code: str, arguments: argparse.Namespace, cores: list[int]) -> float:
    """Images a second of one run, in a process that may use these cores only."""
    command = [python, "-c", code, arguments.folder, str(arguments.side), str(len(cores))]
    run = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    n, seconds = json.loads(run.stdout.splitlines()[-1])
    return n / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="a folder of class folders")
    parser.add_argument("--peer-python", help="the Python of an environment with cleanvision")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[: arguments.cores]
    contenders = {
        "everyclass audit": (sys.executable, OURS),
        "decode only": (sys.executable, DECODING),
    }
    if arguments.peer_python:
        contenders["CleanVision"] = (arguments.peer_python, PEER)
    measure(sys.executable, DECODING, arguments, cores)  # brings the files into the page cache
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(arguments.runs):
        for name, (python, code) in contenders.items():
            rates[name].append(measure(python, code, arguments, cores))
    report(rates, arguments, cores)


def report(rates: dict[str, list[float]], arguments: argparse.Namespace, cores: list[int]) -> None:
    print(
        f"{arguments.folder} at {arguments.side} px, {len(cores)} cores ({platform.machine()}), "
        f"load {os.getloadavg()[0]:.1f}, n = {arguments.runs}, Python {platform.python_version()}, "
        f"Pillow {version('pillow')}, simplejpeg {version('simplejpeg')}"
    )
    slowest = statistics.median(rates["CleanVision"]) if "CleanVision" in rates else None
    for name, values in rates.items():
        median = statistics.median(values)
        ratio = f"   {median / slowest:5.1f} x CleanVision" if slowest else ""
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        print(f"{name:18s} {median:8,.0f} images/s   ({spread}){ratio}")


if __name__ == "__main__":
    main()
