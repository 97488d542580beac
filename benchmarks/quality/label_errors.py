"""Label errors found by `everyclass crossval`, beside cleanlab on the very same probabilities.

    EVERYCLASS_DATA=FOLDER python benchmarks/quality/label_errors.py --out OUT \
        --peer-python PYTHON [--sets trashnet pbc-lt-10] [--seeds 0 1] [--epochs 10] [--model NAME]

FOLDER holds trashnet/ and pbc_128/ with a folder a class; PYTHON has cleanlab. Of each set 1,500
images are drawn: TrashNet at its own frequencies, PBC long-tailed at ratio 10. Of the rarest class
10 % of the images get another class's label, of all others 5 %; which one is drawn evenly. Then

    everyclass crossval MANIFEST --image-size 64 --epochs EPOCHS --model MODEL --seed SEED

and on its `out_of_fold.csv` cleanlab's `find_label_issues`, with its defaults and with
`filter_by="both"`. Precision and recall of the lists, of all images and of those that are of the
rarest class or labelled so; `ratio` is ours to the defaults', `agree` the share of labels that the
models agree with. Labels that were wrong before count against whoever lists them. A finished
cross-validation in OUT is not trained again.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from main_road import shuffled

IMAGES = 1500
PEER = """
import sys, numpy as np
from cleanlab.filter import find_label_issues
given = np.load(sys.argv[1])
found = {
    name: np.flatnonzero(
        find_label_issues(given["labels"], given["probs"], filter_by=name, n_jobs=1)
    )
    for name in ("prune_by_noise_rate", "both")
}
np.savez(sys.argv[2], **found)
"""


@dataclass(frozen=True)
class Row:
    path: Path
    true: str
    given: str


def drawn(name: str, root: Path, seed: int) -> dict[str, list[Path]]:
    """The images of each class."""
    folder = root / ("trashnet" if name == "trashnet" else "pbc_128")
    files = {one.name: shuffled(one) for one in sorted(folder.iterdir())}
    for paths in files.values():
        random.Random(seed).shuffle(paths)
    ordered = sorted(files, key=lambda each: -len(files[each]))
    if name == "trashnet":
        shares = [len(files[each]) for each in ordered]
    else:
        shares = [10 ** (-k / (len(ordered) - 1)) for k in range(len(ordered))]
    return {
        each: files[each][: round(IMAGES * share / sum(shares))]
        for each, share in zip(ordered, shares, strict=True)
    }


def mislabelled(files: dict[str, list[Path]], seed: int) -> tuple[list[Row], str]:
    """Rows with wrong labels among them, and the rarest class."""
    rng = random.Random(seed)
    rarest = min(files, key=lambda each: len(files[each]))
    rows = []
    for name, paths in files.items():
        wrong = set(rng.sample(paths, round((0.10 if name == rarest else 0.05) * len(paths))))
        others = [other for other in files if other != name]
        rows += [Row(path, name, rng.choice(others) if path in wrong else name) for path in paths]
    return rows, rarest


def cross_validated(
    rows: Sequence[Row], out: Path, arguments: argparse.Namespace, seed: int
) -> None:
    manifest = out / "manifest.csv"
    out.mkdir(parents=True, exist_ok=True)
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label"])
        writer.writerows([str(row.path), row.given] for row in rows)
    command = [sys.executable, "-m", "everyclass", "crossval", str(manifest)]
    command += ["--out", str(out / "folds"), "--image-size", "64", "--seed", str(seed)]
    command += ["--epochs", str(arguments.epochs), "--model", arguments.model]
    subprocess.run(command, check=True)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def peer_lists(peer: str, labels: np.ndarray, probs: np.ndarray) -> dict[str, list[int]]:
    """Name of the peer's filter -> rows."""
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
        np.savez(given, labels=labels, probs=probs)
        subprocess.run([peer, "-c", PEER, str(given), str(found)], check=True)
        with np.load(found) as lists:
            return {name: lists[name].tolist() for name in lists.files}


@dataclass(frozen=True)
class Figures:
    """Of one list, among some images."""

    listed: int
    precision: float
    recall: float

    def __str__(self) -> str:
        return f"{self.listed} | {self.precision:.2f} / {self.recall:.2f}"


def figures(listed: set[str], wrong: set[str], among: set[str]) -> Figures:
    of_list, of_wrong = listed & among, wrong & among
    hits = len(of_list & of_wrong)
    return Figures(len(of_list), hits / max(1, len(of_list)), hits / max(1, len(of_wrong)))


def lines_of(name: str, seed: int, arguments: argparse.Namespace) -> list[str]:
    root, out = Path(os.environ["EVERYCLASS_DATA"]), arguments.out / f"{name}-{seed}"
    rows, rarest = mislabelled(drawn(name, root, seed), seed)
    cross_validated(rows, out, arguments, seed)
    seen = read(out / "folds" / "out_of_fold.csv")
    classes = [key.removeprefix("prob_") for key in seen[0] if key.startswith("prob_")]
    labels = np.array([classes.index(one["label"]) for one in seen])
    probs = np.array([[float(one[f"prob_{each}"]) for each in classes] for one in seen])
    lists = peer_lists(arguments.peer_python, labels, probs)
    theirs = {name: {seen[k]["image"] for k in rows} for name, rows in lists.items()}
    ours = {one["image"] for one in read(out / "folds" / "label_errors.csv")}
    of_image = {str(row.path): row for row in rows}
    wrong = {path for path, row in of_image.items() if row.true != row.given}
    agree = float(np.mean([one["label"] == one["predicted"] for one in seen]))
    everything = {one["image"] for one in seen}
    rare = {path for path in everything if rarest in (of_image[path].true, of_image[path].given)}
    lines = []
    for what, among in (("all", everything), (f"{rarest} (rarest)", rare)):
        our = figures(ours, wrong, among)
        default, both = (figures(each, wrong, among) for each in theirs.values())
        ratios = [
            f"{a / b:.2f}" if b else "-"
            for a, b in ((our.precision, default.precision), (our.recall, default.recall))
        ]
        lines.append(
            f"| {name} | {seed} | {agree:.2f} | {what} | {len(among):,} | {len(wrong & among)} | "
            f"{our} | {default} | {' / '.join(ratios)} | {both} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--sets", nargs="+", default=["trashnet", "pbc-lt-10"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--model", default="test_resnet")
    arguments = parser.parse_args()
    lines = [
        line
        for name in arguments.sets
        for seed in arguments.seeds
        for line in lines_of(name, seed, arguments)
    ]
    print(
        "| set | seed | agree | images | n | wrong | ours: listed | precision / recall | "
        "cleanlab: listed | precision / recall | ratio | cleanlab 'both': listed | "
        "precision / recall |"
    )
    print("|" + "---|" * 13)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
