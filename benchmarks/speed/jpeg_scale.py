"""JPEGs decoded at a fraction before they are resized, beside decoding them whole: time and pixels.

python benchmarks/speed/jpeg_scale.py FOLDER [--side 64]

FOLDER holds JPEGs, a folder a class. Three kinds of image are tried: the files as they are, mosaics
of 42 of them (1024 x 768, sharp edges between them), and single ones enlarged to 1024 x 768. The
fraction is the one that `everyclass.images.pixels` chooses for the side.
"""

from __future__ import annotations

import argparse
import io
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from everyclass.images.pixels import decode, decode_resized
from everyclass.images.resizing import RGB, resize

BIG = (1024, 768)
ACROSS, TILE = 7, 150


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def mosaic(files: list[Path]) -> bytes:
    whole = Image.new("RGB", BIG)
    for k, file in enumerate(files):
        tile = Image.open(file).convert("RGB").resize((TILE, TILE))
        whole.paste(tile, ((k % ACROSS) * TILE, (k // ACROSS) * TILE))
    return encoded(whole)


def enlarged(file: Path) -> bytes:
    return encoded(Image.open(file).convert("RGB").resize(BIG, Image.Resampling.BICUBIC))


def timed(make: Callable[[], RGB]) -> tuple[float, RGB]:
    """Least processor seconds of three, and the pixels."""
    seconds = []
    for _ in range(3):
        begin = time.process_time()
        pixels = make()
        seconds.append(time.process_time() - begin)
    return min(seconds), pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, nargs="+", default=[64, 96, 128, 224])
    parser.add_argument("--images", type=int, default=40, help="of each kind")
    options = parser.parse_args()
    files = sorted(options.folder.rglob("*.jpg"))
    random.Random(0).shuffle(files)
    n = options.images
    kinds = {
        "as they are": [file.read_bytes() for file in files[:n]],
        "mosaics": [mosaic(random.Random(i).sample(files, 35)) for i in range(n)],
        "enlarged": [enlarged(file) for file in files[:n]],
    }
    print("kind         side  whole/fraction  mean |difference|  99 %  deviation, worst image")
    for kind, contents in kinds.items():
        for side in options.side:
            ratios, means, ends, deviations = [], [], [], []
            for content in contents:
                slow, whole = timed(lambda: resize(decode(content).rgb, side=side))  # noqa: B023
                fast, scaled = timed(lambda: decode_resized(content, side=side).rgb)  # noqa: B023
                apart = np.abs(whole.astype(int) - scaled)
                ratios.append(slow / fast)
                means.append(float(apart.mean()))
                ends.append(float(np.percentile(apart, 99)))
                deviations.append(abs(float(scaled.std() / whole.std()) - 1))
            print(
                f"{kind:12} {side:4}  {statistics.median(ratios):14.2f}  "
                f"{statistics.mean(means):17.2f}  {statistics.mean(ends):4.1f}  "
                f"{max(deviations):.2%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
