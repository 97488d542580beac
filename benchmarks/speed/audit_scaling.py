"""Memory and time of an audit as the data set grows, and of a second one that reads its cache.

    python benchmarks/speed/audit_scaling.py --images 1000 10000 100000 [--folder SCRATCH]

The images are made here, in ten class folders: smooth colour noise of 96 px, each another one, as
JPEGs of about 2 kB (copies of a few would be near duplicates of one another, which real sets are
not). Each audit is a fresh process with an empty cache first, then with what that left; both are
the pass and the summary, without the interpreter's start. Peak memory is that of the process, its
imports included; "imports" is the peak before it looks at an image.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

from everyclass.workflows.cores import usable_cores

CLASSES = 10
AUDIT = """
import json, resource, sys, time
from everyclass.workflows.audit import audit_data
from everyclass.workflows.data_source import DataSource
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
imports, start = peak(), time.perf_counter()
found = audit_data(DataSource(source=sys.argv[1]), side=64, cached=True)
print(json.dumps([time.perf_counter() - start, imports, peak(), found.remembered, found.audit.n]))
"""


def make_images(folder: Path, n: int) -> None:
    """Add what is missing up to n images; image i is the same in every run."""
    for place in range(CLASSES):
        (folder / f"class{place}").mkdir(parents=True, exist_ok=True)
    for i in range(n):
        path = folder / f"class{i % CLASSES}" / f"{i:07d}.jpg"
        if not path.exists():
            noise = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            image = Image.fromarray(noise).resize((96, 96), Image.Resampling.BILINEAR)
            path.write_bytes(simplejpeg.encode_jpeg(np.asarray(image), quality=80))


def audit(folder: Path, cache: Path) -> tuple[float, float, float, int, int]:
    """Seconds, peak MB before and after, images remembered, images."""
    run = subprocess.run(
        [sys.executable, "-c", AUDIT, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "EVERYCLASS_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
    )
    seconds, imports, peak, remembered, n = json.loads(run.stdout)
    return seconds, imports, peak, remembered, n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--folder", type=Path, help="for the images; kept")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp())
    folder = arguments.folder or scratch / "images"
    print(f"{usable_cores()} cores, load {os.getloadavg()[0]:.1f}")
    print("   images   audit    images/s   imports      peak   again, cached   its peak")
    try:
        for n in sorted(arguments.images):
            make_images(folder, n)
            cache = scratch / f"cache{n}"
            seconds, imports, peak, _, seen = audit(folder, cache)
            # What was changed within two seconds of the audit is not remembered: the last images
            # of a small set were just written.
            again, _, peak_again, remembered, _ = audit(folder, cache)
            print(
                f"{seen:9,} {seconds:6.1f} s {seen / seconds:9,.0f}  {imports:6.0f} MB "
                f"{peak:6.0f} MB  {again:6.2f} s ({remembered:,}) {peak_again:6.0f} MB",
                flush=True,
            )
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
