"""Image sets with fixed splits, as manifests: one CSV (image, label, split) a set, no file copied.

Comes in: a folder with trashnet/, pbc_128/, cifar10/. Goes out: the manifest of a set. Splits are
drawn once, from a fixed seed, and are the same for every arm and every training's seed. Digits come
with scikit-learn and are written as PNG.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from main_road import CIFAR_CLASSES, shuffled, write_manifest

VALIDATION_SHARE = 0.15

Rows = list[tuple[Path, str, str]]


@dataclass(frozen=True)
class Set:
    """One set.

    Attributes:
        name: as it stands in results.
        side: pixels at which everybody trains.
        epochs: of the short budget.
    """

    name: str
    side: int
    epochs: int = 5


SETS = {
    one.name: one
    for one in (
        Set("digits-lt-20", 32),
        Set("trashnet", 64),
        Set("pbc-lt-50", 64),
        Set("cifar10-lt-100", 32),
        Set("pbc-lt-20", 64),
        Set("pbc-lt-100", 64),
        Set("cifar10-lt-10", 32),
        Set("cifar10-lt-50", 32),
    )
}


def manifest_of(name: str, root: Path, out: Path) -> Path:
    """Its manifest in `out`, written when it is not there."""
    path = out / f"{name}.csv"
    if path.exists():
        return path
    kind, _, told = name.partition("-lt-")
    ratio = float(told or 1)
    rows = {
        "trashnet": lambda: _trashnet(root),
        "pbc": lambda: _pbc(root, ratio),
        "cifar10": lambda: _cifar(root, ratio),
        "digits": lambda: _digits(out / "digits", ratio),
    }[kind]()
    return write_manifest(path, rows)


def _parted(files: dict[str, Sequence[Path]], tests: dict[str, Sequence[Path]]) -> Rows:
    """A share of each class's training files for validation, one at least."""
    rows: Rows = []
    for label, paths in files.items():
        kept = max(1, round(VALIDATION_SHARE * len(paths)))
        rows += [(path, label, "val") for path in paths[:kept]]
        rows += [(path, label, "train") for path in paths[kept:]]
        rows += [(path, label, "test") for path in tests[label]]
    return rows


def _trashnet(root: Path) -> Rows:
    files = {one.name: shuffled(one) for one in sorted((root / "trashnet").iterdir())}
    fifth = {name: len(paths) // 5 for name, paths in files.items()}
    return _parted(
        {name: paths[fifth[name] :] for name, paths in files.items()},
        {name: paths[: fifth[name]] for name, paths in files.items()},
    )


def _pbc(root: Path, ratio: float) -> Rows:
    """200 a class for test; of the rest int(1000 * ratio ** (-k / 7)), the largest class first."""
    files = {one.name: shuffled(one) for one in (root / "pbc_128").iterdir()}
    names = sorted(files, key=lambda each: -len(files[each]))
    kept = {name: int(1000 * ratio ** (-k / 7)) for k, name in enumerate(names)}
    return _parted(
        {name: files[name][200 : 200 + kept[name]] for name in names},
        {name: files[name][:200] for name in names},
    )


def _cifar(root: Path, ratio: float) -> Rows:
    """int(5000 * ratio ** (-c / 9)) a class, and the whole balanced test set."""
    train, test = root / "cifar10/train", root / "cifar10/test"
    return _parted(
        {
            name: shuffled(train / name)[: int(5000 * ratio ** (-c / 9))]
            for c, name in enumerate(CIFAR_CLASSES)
        },
        {name: sorted((test / name).iterdir()) for name in CIFAR_CLASSES},
    )


def _digits(folder: Path, ratio: float) -> Rows:
    """40 a class for test; of the rest int(134 * ratio ** (-c / 9))."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    files: dict[str, list[Path]] = {str(c): [] for c in range(10)}
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / str(label) / f"{i:04d}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image.reshape(8, 8) * 15.9).astype(np.uint8)).save(path)
        files[str(label)].append(path)
    for c in files:
        files[c] = shuffled(folder / c)
    return _parted(
        {c: files[c][40 : 40 + int(134 * ratio ** (-int(c) / 9))] for c in files},
        {c: files[c][:40] for c in files},
    )
