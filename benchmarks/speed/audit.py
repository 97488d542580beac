"""Images a second of an audit: ours, CleanVision's, and the limit that decoding alone sets.

CleanVision lives in an environment of its own:

    python3 -m venv peer && peer/bin/pip install cleanvision==0.3.7
    python benchmarks/speed/audit.py DATA --peer-python peer/bin/python --cores 2

Each figure is the median of `--runs` runs in fresh processes, which alternate; imports and a
warm-up over the first 64 images stand outside the clock, the files are in the page cache. All use
the same cores. What each does for an image:

- everyclass audit: reads and decodes it (at a fraction of its size where that suffices), resizes it
  to the training size; channel sums, range, digest of the content, two perceptual hashes, tones and
  edges; then all findings: exact and near duplicates, leakage, odd images, label order.
- statistics only: `load_image` on as many threads and the channels' sums and squares, nothing else.
- resized only: the same without the sums: what our definition of a pixel costs.
- decode only: reads and decodes whole with our decoder, on as many threads, and resizes nothing.
- CleanVision: brightness, blur, entropy and aspect, exact and near duplicates (`agreement.py` says
  what the two find).

Processor time (user and system, all processes) depends less on what else runs on the machine.
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
import json, os, sys, time
from everyclass.images.audit import audit_images
from everyclass.images.readers import read_table
folder, side, cores = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
audit_images(read_table(folder).take(range(64)), side=side, threads=cores)
start, used = time.perf_counter(), sum(os.times()[:4])
table = read_table(folder)
audit_images(table, side=side, threads=cores)
print(json.dumps([len(table), time.perf_counter() - start, sum(os.times()[:4]) - used]))
"""
DECODING = """
import json, os, sys, time
from concurrent.futures import ThreadPoolExecutor
from everyclass.images.contents import read_bytes
from everyclass.images.pixels import decode, load_image
from everyclass.images.readers import read_table
folder, cores = sys.argv[1], int(sys.argv[3])
images, side = list(read_table(folder).images), int(sys.argv[2])
def work(part):
    for image in part:
        WORK
with ThreadPoolExecutor(cores) as pool:
    list(pool.map(work, [images[:64]]))
    start, used = time.perf_counter(), sum(os.times()[:4])
    list(pool.map(work, [images[i : i + 32] for i in range(0, len(images), 32)]))
print(json.dumps([len(images), time.perf_counter() - start, sum(os.times()[:4]) - used]))
"""
STATISTICS = (
    "import numpy as np\nfrom everyclass.stats.moments import channel_sums"
    + DECODING.replace(
        """    for image in part:
        WORK
""",
        """    pixels = np.stack([load_image(image, side=side) for image in part])
    channel_sums(pixels.reshape(len(part), -1, 3))
""",
    )
)
RESIZING = DECODING.replace("WORK", "load_image(image, side=side)")
DECODING = DECODING.replace("WORK", "decode(read_bytes(image))")
PEER = """
import contextlib, io, json, os, sys, time
from cleanvision import Imagelab
folder, cores = sys.argv[1], int(sys.argv[3])
if __name__ == "__main__":
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        start, used = time.perf_counter(), sum(os.times()[:4])
        lab = Imagelab(data_path=folder)
        lab.find_issues(n_jobs=cores, verbose=False)
        seconds = time.perf_counter() - start
    print(json.dumps([len(lab.issues), seconds, sum(os.times()[:4]) - used]))
"""


def measure(
    python: str, code: str, arguments: argparse.Namespace, cores: list[int]
) -> tuple[float, float]:
    """Images a second, and ms of processor time an image, in a process that may use these cores."""
    command = [python, "-c", code, arguments.folder, str(arguments.side), str(len(cores))]
    run = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    n, seconds, used = json.loads(run.stdout.splitlines()[-1])
    return n / seconds, 1e3 * used / n


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
        "statistics only": (sys.executable, STATISTICS),
        "resized only": (sys.executable, RESIZING),
        "decode only": (sys.executable, DECODING),
    }
    if arguments.peer_python:
        contenders["CleanVision"] = (arguments.peer_python, PEER)
    measure(sys.executable, DECODING, arguments, cores)  # brings the files into the page cache
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(arguments.runs):
        for name, (python, code) in contenders.items():
            rates[name].append(measure(python, code, arguments, cores))
    report(rates, arguments, cores)


def report(
    rates: dict[str, list[tuple[float, float]]], arguments: argparse.Namespace, cores: list[int]
) -> None:
    print(
        f"{arguments.folder} at {arguments.side} px, {len(cores)} cores ({platform.machine()}), "
        f"load {os.getloadavg()[0]:.1f}, n = {arguments.runs}, Python {platform.python_version()}, "
        f"simplejpeg {version('simplejpeg')}, OpenCV {version('opencv-python-headless')}"
    )
    middle = {name: statistics.median(one for one, _ in runs) for name, runs in rates.items()}
    for name, runs in rates.items():
        used = statistics.median(one for _, one in runs)
        low, high = min(one for one, _ in runs), max(one for one, _ in runs)
        ratios = f"{middle[name] / middle['decode only']:5.2f} of decode only"
        if "CleanVision" in middle:
            ratios += f"{middle[name] / middle['CleanVision']:7.1f} x CleanVision"
        print(
            f"{name:18s} {middle[name]:8,.0f} images/s  ({low:,.0f} to {high:,.0f})  "
            f"{used:6.3f} ms of processor  {ratios}"
        )


if __name__ == "__main__":
    main()
