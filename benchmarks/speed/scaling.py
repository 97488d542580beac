"""How time and memory grow with images, classes and the side of files, on 1 and 2 threads.

    python benchmarks/speed/scaling.py                       # all parts; plots and scaling.json
    python benchmarks/speed/scaling.py --parts images --images 1000 10000
    python benchmarks/speed/scaling.py --draw                # only the plots, from scaling.json
    ... --plots FOLDER (benchmarks/plots)   --scratch FOLDER (for the images; kept)

Every figure is one run of a fresh process with an empty cache. Time is the work, by the clock and
of all threads and workers, without the interpreter's start and imports; peak memory is that of the
process, imports included ("imports" is the peak before it looked at anything), and of its workers,
where these examine images (2 threads, from 10,000 images on). Images are made here. Those
of the first two parts are smooth colour noise of 96 px, each another one, as JPEGs of about 2 kB
(copies of a few would be near duplicates of one another, which real sets are not); files are hard
links where the same images are sorted into other classes.

- images: `audit_data` of a folder of ten class folders, on 1 and on 2 threads; again with what the
  cache knows; and the limit: the same files read and decoded, nothing else.
- classes: the same audit of 20,000 images, sorted into 2 to 5,000 class folders, and what the
  command then says: text for a terminal and JSON.
- sides: the same audit of JPEGs of 64 to 2,048 px, colour noise in patches of an eighth of the side
  with grain of 5 grey levels upon it, quality 85, so that they have as many bits a pixel as
  photographs; and decoding them whole. An audit looks at them at 64 px, and decodes at a fraction.
- training: an epoch of `everyclass train` with timm's test_resnet at 32 px on 20,000 images of
  32 px in 2 to 5,000 classes (14,000 are trained on; of 5,000 classes 8,900, as four images of a
  class are split otherwise), and what comes before and after its epochs. Where the time of an epoch
  goes is read as `profile_epoch.py` does. On one thread, which so small a network is measured to be
  fastest on (`--training-threads 1 2` for both).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
import simplejpeg
from profile_epoch import in_a_process

from everyclass.workflows.cores import usable_cores

THREADS = (1, 2)
CLASSED_IMAGES = 20_000
TRAINED = {
    "model": "test_resnet",
    "image_size": 32,
    "epochs": 2,
    "pretrained": False,
    "precision": "fp32",
    "memory_format": "channels_last",
    "device": "cpu",
}
EVALUATING = "evaluation: "

AUDIT = """
import io, json, os, re, resource, sys, threading, time
from pathlib import Path
from everyclass.terminal.audit import audit_view
from everyclass.workflows.audit import audit_data
from everyclass.workflows.data_source import DataSource
from rich.console import Console
own = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
used_by_all = lambda: sum(os.times()[:4])  # workers too: they have ended by then
workers = {}  # their peaks; what getrusage says of a child holds its parent's size at the start
def watch():
    while True:
        for task in Path("/proc/self/task").glob("*/children"):
            try:
                for pid in task.read_text().split():
                    peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc", pid, "status").read_text())
                    workers[pid] = int(peak[1]) / 1024 if peak else workers.get(pid, 0)
            except OSError:
                pass  # it has ended
        time.sleep(0.1)
threading.Thread(target=watch, daemon=True).start()
imports, start, used = own(), time.perf_counter(), used_by_all()
found = audit_data(DataSource(source=sys.argv[1]), side=64, threads=int(sys.argv[2]), cached=True)
ended, busy = time.perf_counter(), used_by_all()
peak = own() + sum(workers.values())
json.dumps(found.audit.to_dict(), indent=2)
Console(file=io.StringIO(), width=100).print(audit_view(found.audit))
print(json.dumps({
    "seconds": ended - start, "busy": busy - used, "telling": time.perf_counter() - ended,
    "imports": imports, "peak": peak, "remembered": found.remembered, "n": found.audit.n,
}))
"""
DECODE = """
import json, resource, sys, time
from concurrent.futures import ThreadPoolExecutor
from everyclass.images.contents import read_bytes
from everyclass.images.pixels import decode
from everyclass.images.readers import read_table
images = list(read_table(sys.argv[1]).images)
def work(part):
    for image in part:
        decode(read_bytes(image))
with ThreadPoolExecutor(int(sys.argv[2])) as pool:
    start, used = time.perf_counter(), time.process_time()
    list(pool.map(work, [images[i : i + 32] for i in range(0, len(images), 32)]))
print(json.dumps({
    "seconds": time.perf_counter() - start, "busy": time.process_time() - used,
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "n": len(images),
}))
"""


# -- images ---------------------------------------------------------------------------------------


def smooth(i: int, side: int) -> bytes:
    """JPEG number i: colour noise of 8 x 8, enlarged."""
    noise = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = cv2.resize(noise, (side, side), interpolation=cv2.INTER_LINEAR)
    return bytes(simplejpeg.encode_jpeg(image, quality=80))


def grained(i: int, side: int) -> bytes:
    """JPEG number i with the detail of a photograph."""
    rng = np.random.default_rng(i)
    noise = rng.integers(0, 256, (8, 8, 3)).astype(np.float32)
    image = cv2.resize(noise, (side, side), interpolation=cv2.INTER_LINEAR)
    image += rng.normal(0, 5, (side, side, 1)).astype(np.float32)
    return bytes(simplejpeg.encode_jpeg(np.clip(image, 0, 255).astype(np.uint8), quality=85))


def written(folder: Path, n: int, make: Callable[[int, int], bytes], side: int) -> Path:
    """Ten class folders with images 0 to n - 1; those that are there already stay."""
    for label in range(10):
        (folder / f"class{label}").mkdir(parents=True, exist_ok=True)
    for i in range(n):
        path = folder / f"class{i % 10}" / f"{i:07d}.jpg"
        if not path.exists():
            path.write_bytes(make(i, side))
    return folder


def sorted_into(folder: Path, images: Path, n_classes: int, n: int) -> Path:
    """Hard links to the first n images, in so many class folders."""
    for label in range(n_classes):
        (folder / f"class{label:04d}").mkdir(parents=True)
    for i in range(n):
        os.link(
            images / f"class{i % 10}" / f"{i:07d}.jpg",
            folder / f"class{i % n_classes:04d}" / f"{i:07d}.jpg",
        )
    return folder


# -- measuring ------------------------------------------------------------------------------------


def measured(code: str, folder: Path, threads: int, cache: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(threads)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "EVERYCLASS_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
    )
    return {**json.loads(done.stdout), "threads": threads, "load": os.getloadavg()[0]}


def told(what: str, found: dict[str, Any]) -> dict[str, Any]:
    print(
        f"{what:32} {found['threads']} threads {found['seconds']:8.2f} s "
        f"{found['n'] / found['seconds']:9,.0f} images/s  processor {found['busy']:8.2f} s  "
        f"peak {found['peak']:6,.0f} MB  load {found['load']:.1f}",
        flush=True,
    )
    return {"what": what, **found}


def audits(name: str, folder: Path, scratch: Path, *, again: bool) -> list[dict[str, Any]]:
    """Audits on 1 and 2 threads, and one that reads the cache of the last."""
    found = []
    for threads in THREADS:
        cache = Path(tempfile.mkdtemp(dir=scratch))
        found.append(told(f"audit, {name}", measured(AUDIT, folder, threads, cache)))
        if again and threads == THREADS[-1]:
            found.append(told(f"again, {name}", measured(AUDIT, folder, threads, cache)))
        shutil.rmtree(cache)
    return found


def over_images(options: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    found = []
    for n in sorted(options.images):
        folder = written(scratch / "images", n, smooth, 96)
        time.sleep(2.1)  # what was written within two seconds is not remembered
        found += audits(f"{n:,} images", folder, scratch, again=True)
        if n <= options.decode_up_to:
            found += [
                told(f"decode, {n:,} images", measured(DECODE, folder, threads, scratch))
                for threads in THREADS
            ]
    return found


def over_classes(options: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    images = written(scratch / "images-of-classes", CLASSED_IMAGES, smooth, 96)
    found = []
    for n_classes in sorted(options.classes):
        folder = sorted_into(scratch / f"c{n_classes}", images, n_classes, CLASSED_IMAGES)
        runs = audits(f"{n_classes:,} classes", folder, scratch, again=False)
        found += [{**one, "classes": n_classes} for one in runs]
        shutil.rmtree(folder)
    return found


def over_sides(options: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    found = []
    for side in sorted(options.sides):
        n = int(np.clip(options.pixels / side**2, 100, 4_000))
        folder = written(scratch / f"side{side}", n, grained, side)
        size = np.mean([path.stat().st_size for path in folder.rglob("*.jpg")])
        runs = audits(f"{side:,} px", folder, scratch, again=False)
        runs += [
            told(f"decode, {side:,} px", measured(DECODE, folder, threads, scratch))
            for threads in THREADS
        ]
        found += [{**one, "side": side, "bytes": float(size)} for one in runs]
        shutil.rmtree(folder)
    return found


def over_training(options: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    images = written(scratch / "images-to-train", CLASSED_IMAGES, smooth, 32)
    found = []
    for n_classes in sorted(options.classes):
        folder = sorted_into(scratch / f"t{n_classes}", images, n_classes, CLASSED_IMAGES)
        for threads in options.training_threads:
            one = in_a_process(str(folder), {**TRAINED, "threads": threads})
            one |= {"classes": n_classes, "threads": threads, "load": os.getloadavg()[0]}
            found.append(one)
            parts = groups(one, 1)
            print(
                f"training, {n_classes:,} classes, {threads} threads: epoch {one['epoch'][0]:.1f} s"
                f", processor {one['epoch'][1]:.1f} s ("
                + ", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items())
                + f"); before {one['before'][1]:.1f} s, after {one['after'][1]:.1f} s; "
                f"peak {one['peak_mb']:,.0f} MB; load {one['load']:.1f}",
                flush=True,
            )
        shutil.rmtree(folder)
    return found


def groups(found: dict[str, Any], which: int) -> dict[str, float]:
    """Seconds of an epoch in four groups. `which`: 0 by the clock, 1 of all threads."""
    network = ("forward", "loss", "backward", "optimizer", "normalisation", "augmentation")
    sums = {"network": 0.0, "watch": 0.0, "evaluation": 0.0, "checkpoint": 0.0, "rest": 0.0}
    for name, seconds in found["parts"].items():
        if name.startswith("beside"):
            continue
        group = "rest"
        if name in sums:
            group = name
        elif name in network:
            group = "network"
        elif name.startswith(EVALUATING):
            group = "evaluation"
        sums[group] += seconds[which]
    return sums


# -- plots ----------------------------------------------------------------------------------------

COLOURS = {1: "#1b6ca8", 2: "#c8553d"}
PROCESSOR = {"color": "#555555", "marker": "x"}
LIMIT = {"color": "#999999", "marker": "^", "linestyle": ":"}
Line = tuple[str, Sequence[float], Sequence[float], dict[str, Any]]


def panel(axes: Any, lines: Sequence[Line], *, title: str, x: str, y: str) -> None:
    """Lines on two logarithmic axes, with plain numbers at the ticks."""
    for label, xs, ys, how in lines:
        if len(xs):
            axes.plot(xs, ys, label=label, linewidth=1.6, markersize=5, **how)
    axes.set(xscale="log", yscale="log", xlabel=x, ylabel=y, title=title)
    places = sorted({float(one) for _, xs, _, _ in lines for one in xs})
    axes.set_xticks(places, [short(one) for one in places])
    axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    # Ticks between the powers of ten where there are few of those.
    low, high = axes.get_ylim()
    if high / low < 4:  # what hardly changes is to look like it
        low, high = low / 2, high * 2
        axes.set_ylim(low, high)
    between = (1.0, 2.0, 5.0) if high / low < 300 else (1.0,)
    axes.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=between, numticks=20))
    axes.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    axes.grid(True, which="major", color="#dddddd", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)


def short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:,g}"


def line(
    label: str,
    runs: Sequence[dict[str, Any]],
    x: Callable[[dict[str, Any]], float],
    y: Callable[[dict[str, Any]], float],
    threads: int,
    **how: Any,
) -> Line:
    own = [one for one in runs if one["threads"] == threads]
    how = {"color": COLOURS[threads], "marker": "o", **how}
    return label, [x(one) for one in own], [y(one) for one in own], how


def draw(found: dict[str, Any], folder: Path) -> list[Path]:
    """One figure a part: time on the left, memory on the right."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    made = []
    for part, panels in PANELS.items():
        if part not in found:
            continue
        figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.7), dpi=100, layout="constrained")
        panels(found[part], axes)
        figure.suptitle(found["machine"], fontsize=8, color="#666666")
        path = folder / f"scaling-{part}.png"
        figure.savefig(path)
        plt.close(figure)
        made.append(path)
    return made


def named(what: str, threads: int) -> str:
    return f"{what}, {threads} thread{'s' * (threads > 1)}"


def starting(runs: Sequence[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    return [one for one in runs if one["what"].startswith(what)]


def draw_images(runs: list[dict[str, Any]], axes: Any) -> None:
    audit, again, decode = (starting(runs, what) for what in ("audit", "again", "decode"))
    x, seconds = (lambda one: one["n"]), (lambda one: one["seconds"])
    busy = lambda one: one["busy"]  # noqa: E731
    time_lines = [
        *(line(named("audit", t), audit, x, seconds, t) for t in THREADS),
        line("audit, processor", audit, x, busy, 2, **PROCESSOR),
        line("decoding alone, processor", decode, x, busy, 2, **LIMIT),
        line("audit again, from its cache", again, x, seconds, 2, color="#3a7d44", marker="s"),
    ]
    panel(axes[0], time_lines, title="Audit: time", x="images (96 px JPEGs)", y="seconds")
    memory = [
        *(line(named("audit", t), audit, x, lambda one: one["peak"], t) for t in THREADS),
        line("again, from its cache", again, x, lambda one: one["peak"], 2, color="#3a7d44"),
        line("imports alone", audit, x, lambda one: one["imports"], 1, color="#999999"),
    ]
    panel(axes[1], memory, title="Audit: peak memory", x="images (96 px JPEGs)", y="MB")


def draw_classes(runs: list[dict[str, Any]], axes: Any) -> None:
    x = lambda one: one["classes"]  # noqa: E731
    lines = [
        *(line(named("audit", t), runs, x, lambda one: one["seconds"], t) for t in THREADS),
        line("audit, processor", runs, x, lambda one: one["busy"], 2, **PROCESSOR),
        line(
            "its text and JSON", runs, x, lambda one: one["telling"], 1, color="#3a7d44", marker="s"
        ),
    ]
    label = f"classes ({CLASSED_IMAGES:,} images)"
    panel(axes[0], lines, title="Audit: time", x=label, y="seconds")
    memory = [line(named("audit", t), runs, x, lambda one: one["peak"], t) for t in THREADS]
    panel(axes[1], memory, title="Audit: peak memory", x=label, y="MB")


def draw_sides(runs: list[dict[str, Any]], axes: Any) -> None:
    audit, decode = starting(runs, "audit"), starting(runs, "decode")
    x = lambda one: one["side"]  # noqa: E731
    each = lambda one: 1000 * one["seconds"] / one["n"]  # noqa: E731
    busy = lambda one: 1000 * one["busy"] / one["n"]  # noqa: E731
    lines = [
        *(line(named("audit", t), audit, x, each, t) for t in THREADS),
        line("audit, processor", audit, x, busy, 2, **PROCESSOR),
        line("decoding whole, processor", decode, x, busy, 2, **LIMIT),
    ]
    label = "side of the files, px (looked at at 64 px)"
    panel(axes[0], lines, title="Audit: time an image", x=label, y="milliseconds an image")
    memory = [
        *(line(named("audit", t), audit, x, lambda one: one["peak"], t) for t in THREADS),
        *(
            line(f"decoding whole, {t}", decode, x, lambda one: one["peak"], t, linestyle=":")
            for t in THREADS
        ),
    ]
    panel(axes[1], memory, title="Audit: peak memory", x=label, y="MB")


def draw_training(runs: list[dict[str, Any]], axes: Any) -> None:
    x = lambda one: one["classes"]  # noqa: E731
    colours = {
        "network": "#1b6ca8",
        "watch": "#e0a030",
        "evaluation": "#3a7d44",
        "checkpoint": "#8a4f9e",
    }
    lines = [
        *(
            line(named("the epoch", t), runs, x, lambda one: one["epoch"][1], t, **how)
            for t, how in ((1, {"color": "#000000"}), (2, {"color": "#999999"}))
        ),
        *(
            line(name, runs, x, lambda one, name=name: groups(one, 1)[name], 1, color=colour)
            for name, colour in colours.items()
        ),
        line(
            "after the epochs",
            runs,
            x,
            lambda one: one["after"][1],
            1,
            color="#c8553d",
            marker="s",
            linestyle=":",
        ),
    ]
    label = f"classes ({CLASSED_IMAGES:,} images of 32 px)"
    panel(
        axes[0],
        lines,
        title="Training: an epoch by parts (1 thread)",
        x=label,
        y="processor seconds",
    )
    memory = [
        *(line(named("peak", t), runs, x, lambda one: one["peak_mb"], t) for t in THREADS),
        line(
            "evaluation.json",
            runs,
            x,
            lambda one: one["written"]["evaluation.json"] / 1e6,
            1,
            color="#3a7d44",
            marker="s",
            linestyle=":",
        ),
        line(
            "predictions.csv",
            runs,
            x,
            lambda one: one["written"]["predictions.csv"] / 1e6,
            1,
            color="#8a4f9e",
            marker="s",
            linestyle=":",
        ),
    ]
    panel(axes[1], memory, title="Training: peak memory and files", x=label, y="MB")


def rounded(value: Any) -> Any:
    """The same with five digits a number."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


PARTS = {
    "images": over_images,
    "classes": over_classes,
    "sides": over_sides,
    "training": over_training,
}
PANELS = {
    "images": draw_images,
    "classes": draw_classes,
    "sides": draw_sides,
    "training": draw_training,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    counts = [1_000, 3_000, 10_000, 30_000, 100_000, 300_000]
    parser.add_argument("--images", type=int, nargs="+", default=counts)
    parser.add_argument("--decode-up-to", type=int, default=100_000, help="images decoded alone")
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 10, 100, 1_000, 5_000])
    parser.add_argument(
        "--training-threads", type=int, nargs="+", choices=THREADS, default=[1], help="of trainings"
    )
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128, 256, 512, 1024, 2048])
    parser.add_argument("--pixels", type=float, default=4e8, help="of all images of a side")
    parser.add_argument("--plots", type=Path, default=Path(__file__).parents[1] / "plots")
    parser.add_argument("--scratch", type=Path, help="for the images of the first part; kept")
    parser.add_argument("--draw", action="store_true", help="only draw what scaling.json has")
    options = parser.parse_args()
    options.plots.mkdir(parents=True, exist_ok=True)
    kept = options.plots / "scaling.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    if not options.draw:
        scratch = options.scratch or Path(tempfile.mkdtemp())
        cores, load = usable_cores(), os.getloadavg()[0]
        found["machine"] = f"{cores} cores ({platform.machine()}), load at the start {load:.1f}"
        try:
            for part in options.parts:
                found[part] = PARTS[part](options, scratch)
                kept.write_text(json.dumps(rounded(found)) + "\n")
        finally:
            if options.scratch is None:
                shutil.rmtree(scratch)
    for path in draw(found, options.plots):
        print(f"{path} ({path.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
