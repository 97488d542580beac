"""How long a manifest takes to read, and how much memory: 300,000 and 1,000,000 rows.

    python benchmarks/speed/manifest.py                    # both sizes, three rounds
    python benchmarks/speed/manifest.py --rows 300000 --rounds 5

Files are empty (readers look at names only), 1,000 in a folder, in a temporary folder that is
removed at the end; every row's file exists. Each reading runs in a process of its own, so that its
peak resident memory is its own, imports included. In each round the peer stands beside ours: the
plain way of a training script, the csv module with one os.path.exists a row, which checks less
(no repeated rows, no splits, no guessing) and keeps Python lists.

Readings: csv and parquet name files; ids name them without folder and extension, so that the
folder below is searched; folder reads class folders; csv+split also assigns train, val and test.
Expected on 2 shared cores: 1,000,000 rows of csv in about 5 seconds, twice as fast as the plain
way, and 0.65 GB at the peak; 300,000 rows in under 2 seconds.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

CLASSES = 20
READINGS = ("plain", "csv", "csv+split", "parquet", "ids", "folder")
LIMIT_BYTES = 1_000_000_000


def write_images(folder: Path, rows: int) -> tuple[list[str], list[str]]:
    """Empty files images/<class>/<thousand>/<id>.jpg; returns the paths below `folder`, labels."""
    images, labels = [], []
    for start in range(0, rows, 1000):
        label = f"class{start // 1000 % CLASSES:02d}"
        below = f"images/{label}/{start // 1000:05d}"
        (folder / below).mkdir(parents=True)
        for number in range(start, min(start + 1000, rows)):
            name = f"{below}/{number:08d}.jpg"
            os.close(os.open(folder / name, os.O_CREAT))
            images.append(name)
            labels.append(label)
    return images, labels


def write_manifests(folder: Path, images: list[str], labels: list[str]) -> None:
    groups = [f"p{row // 7}" for row in range(len(images))]
    table = pa.table({"image": images, "label": labels, "patient": groups})
    pa_csv.write_csv(table, folder / "rows.csv")
    pq.write_table(table, folder / "rows.parquet")
    ids = pa.array([image.rpartition("/")[2].removesuffix(".jpg") for image in images])
    pa_csv.write_csv(pa.table({"image_id": ids, "label": labels}), folder / "ids.csv")


def read_plainly(path: Path) -> int:
    images, labels = [], []
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            image = os.path.join(path.parent, row["image"])
            if os.path.exists(image):
                images.append(image)
                labels.append(row["label"])
    numbers = {name: number for number, name in enumerate(sorted(set(labels)))}
    return len([numbers[label] for label in labels])


def read_once(reading: str, folder: Path) -> int:
    """One reading, in this process; returns how many rows came out."""
    if reading == "plain":
        return read_plainly(folder / "rows.csv")
    from everyclass.images.readers import read_table
    from everyclass.images.split import assign_splits

    source = {"parquet": "rows.parquet", "ids": "ids.csv", "folder": "images"}
    table = read_table(folder / source.get(reading, "rows.csv"))
    if reading == "csv+split":
        table, _ = assign_splits(table, val_fraction=0.15, test_fraction=0.15, seed=0)
    return len(table)


def measure(reading: str, folder: Path) -> tuple[int, float, int]:
    """Rows, seconds (interpreter and imports included) and peak resident bytes of one reading."""
    start = time.perf_counter()
    command = [sys.executable, __file__, "--once", reading, str(folder)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds = time.perf_counter() - start
    rows, peak = json.loads(answer)
    return rows, seconds, peak


def compare(rows: int, rounds: int) -> bool:
    """Print one table; returns whether every reading of ours kept within the limit."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        write_manifests(folder, *write_images(folder, rows))
        print(f"\n{rows:,} rows (files written in {time.perf_counter() - start:.0f} s)", flush=True)
        seconds: dict[str, list[float]] = {reading: [] for reading in READINGS}
        peaks: dict[str, int] = dict.fromkeys(READINGS, 0)
        for _ in range(rounds):
            for reading in READINGS:
                read, taken, peak = measure(reading, folder)
                assert read == rows, f"{reading} gave {read:,} rows"
                seconds[reading].append(taken)
                peaks[reading] = max(peaks[reading], peak)
    plain = statistics.median(seconds["plain"])
    print(f"{'reading':10} {'median s':>9} {'min':>6} {'max':>6} {'plain / it':>11} {'peak MB':>8}")
    for reading in READINGS:
        taken = seconds[reading]
        median = statistics.median(taken)
        print(
            f"{reading:10} {median:9.2f} {min(taken):6.2f} {max(taken):6.2f} "
            f"{plain / median:11.2f} {peaks[reading] / 1e6:8.0f}",
            flush=True,
        )
    return all(peaks[reading] <= LIMIT_BYTES for reading in READINGS if reading != "plain")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[300_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", nargs=2, metavar=("READING", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        reading, folder = options.once
        rows = read_once(reading, Path(folder))
        # Linux counts in KiB, macOS in bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        print(json.dumps([rows, peak]))
        return
    print(
        f"Python {platform.python_version()}, pyarrow {pa.__version__}, {platform.machine()}, "
        f"{os.cpu_count()} cores, {options.rounds} rounds"
    )
    within = [compare(rows, options.rounds) for rows in options.rows]
    if not all(within):
        sys.exit(f"A reading passed {LIMIT_BYTES / 1e9:g} GB of resident memory.")


if __name__ == "__main__":
    main()
