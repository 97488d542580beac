"""Real images for the demo, made long-tailed: scikit-learn's digits and Fashion-MNIST.

In: a folder, an imbalance ratio and a seed. Out: PNG files and `manifest.csv` with the columns
image, label and split. Train and val have the same long tail, as a collection in the wild would;
test is balanced and shares no image with them. The drawn images are in `images.synthetic`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from everyclass.errors import InputError
from everyclass.images.synthetic import write_set
from everyclass.seeding import stream_seed

DIGITS_TEST = 40  # test images a class: of the rarest digit, 174 in all, 134 are left
FASHION_TEST = 100
FEWEST = 4  # train and val images of the rarest class: two in each
VAL_FRACTION = 0.2
DIGITS_ENLARGED = 4  # each of the 8 x 8 pixels becomes a square of this side

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool:
    """Images to choose from: (N, H, W) uint8, and (N,) int64 targets."""

    name: str
    images: NDArray[np.uint8]
    targets: Indices


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """Rows of a pool that make up a split."""

    split: str
    pool: _Pool
    rows: Indices


def write_digits(folder: str | Path, *, imbalance_ratio: float = 20.0, seed: int = 0) -> Path:
    """Write scikit-learn's bundled handwritten digits, long-tailed; nothing is downloaded.

    Of the 1,797 images of 8 x 8 pixels (UCI, Alpaydin and Kaynak 1998), 40 of each digit are the
    test split. Of the others all zeros (or as nearly all as the numbers allow) and ever fewer of
    each next digit are kept. Values 0..16 become 0..255, and each pixel a square of 4 x 4, because
    networks that halve the side five times need 32 pixels.

    Args:
        imbalance_ratio: zeros to nines in train and val together, from 1 to about 33.
    Returns:
        The path of `manifest.csv`.
    Raises:
        InputError: scikit-learn is missing; a ratio out of range; a folder with another manifest.
    """
    pool = _digits()
    rng = np.random.default_rng(stream_seed(seed, "digits"))
    order = rng.permutation(len(pool.targets))
    test = _first_of_each(pool.targets, order, np.full(10, DIGITS_TEST))
    rest = order[~np.isin(order, test)]
    shares = _shares(10, imbalance_ratio)
    n = int(np.bincount(pool.targets[rest]).min() / shares[0] + 1e-9)
    counts = long_tail_counts(n, classes=10, imbalance_ratio=imbalance_ratio)
    train, val = _train_and_val(pool, rest, counts)
    chosen = (train, val, _Chosen(split="test", pool=pool, rows=test))
    return _write(Path(folder), chosen, [str(digit) for digit in range(10)])


def write_fashion_mnist(
    folder: str | Path, *, n: int = 6000, imbalance_ratio: float = 50.0, seed: int = 0
) -> Path:
    """Write Fashion-MNIST, long-tailed, from torchvision's download (kept in `folder/download`).

    Train and val come from its 60,000 training images, 100 test images a class from its 10,000
    test images; 28 x 28 pixels, grey. Source: Xiao et al. 2017, arXiv:1708.07747.

    Args:
        n: images in train and val together.
        imbalance_ratio: t-shirts to ankle boots in train and val together, 1 or more.
    Returns:
        The path of `manifest.csv`.
    Raises:
        InputError: the download failed; n or ratio out of range; a folder with another manifest.
    """
    counts = long_tail_counts(n, classes=10, imbalance_ratio=imbalance_ratio)
    train_pool, test_pool, names = _fashion_mnist(Path(folder) / "download")
    available = int(np.bincount(train_pool.targets).min())
    if counts[0] > available:
        raise InputError(
            f"n = {n:,} at ratio {imbalance_ratio:g} asks for {counts[0]:,} images of "
            f"'{names[0]}'; Fashion-MNIST has {available:,}.",
            remedy="Take a smaller n or a smaller ratio.",
        )
    rng = np.random.default_rng(stream_seed(seed, "fashion-mnist"))
    train, val = _train_and_val(train_pool, rng.permutation(len(train_pool.targets)), counts)
    order = rng.permutation(len(test_pool.targets))
    test = _first_of_each(test_pool.targets, order, np.full(10, FASHION_TEST))
    chosen = (train, val, _Chosen(split="test", pool=test_pool, rows=test))
    return _write(Path(folder), chosen, names)


def long_tail_counts(n: int, *, classes: int, imbalance_ratio: float) -> Indices:
    """Images a class: n in all, each class fewer than the one before by the same factor.

    n_c is proportional to imbalance_ratio ** (-c / (C - 1)), rounded so that the sum is n.

    Returns:
        (C,) int64, not increasing.
    Raises:
        InputError: a ratio below 1, or fewer than 4 images for the last class.
    Source: the profile of Cao et al. 2019, arXiv:1906.07413.
    Example:
        >>> long_tail_counts(70, classes=3, imbalance_ratio=4.0)
        array([40, 20, 10])
    """
    exact = n * _shares(classes, imbalance_ratio)
    counts = np.floor(exact + 1e-9).astype(np.int64)
    most_cut = np.argsort(counts - exact, kind="stable")[: n - int(counts.sum())]
    counts[most_cut] += 1
    if counts[-1] < FEWEST:
        raise InputError(
            f"At ratio {imbalance_ratio:g}, {n:,} images in {classes} classes leave the rarest "
            f"{counts[-1]}; train and val need at least {FEWEST}.",
            remedy="Take a smaller ratio.",
        )
    return -np.sort(-counts)  # a remainder may have lifted a class above an equal one before it


def _shares(classes: int, imbalance_ratio: float) -> NDArray[np.float64]:
    if not 1 <= imbalance_ratio < np.inf:
        raise InputError(f"The imbalance ratio is {imbalance_ratio:g}; it must be 1 or more.")
    falling = imbalance_ratio ** -(np.arange(classes) / max(classes - 1, 1))
    return np.asarray(falling / falling.sum())


def _first_of_each(targets: Indices, order: Indices, counts: Indices) -> Indices:
    """The first counts[c] rows of each class c in `order`."""
    return np.concatenate(
        [order[targets[order] == c][:count] for c, count in enumerate(counts)], dtype=np.int64
    )


def _train_and_val(pool: _Pool, order: Indices, counts: Indices) -> tuple[_Chosen, _Chosen]:
    """counts[c] rows of each class, a fifth of them (two at least) for val."""
    rows = _first_of_each(pool.targets, order, counts)
    val = _first_of_each(
        pool.targets, rows, np.maximum(2, np.rint(VAL_FRACTION * counts).astype(np.int64))
    )
    train = rows[~np.isin(rows, val)]
    return _Chosen(split="train", pool=pool, rows=train), _Chosen(split="val", pool=pool, rows=val)


def _write(folder: Path, chosen: Sequence[_Chosen], names: Sequence[str]) -> Path:
    """Images as `images/{pool}_{number in the source}.png`, rows in that order, not by class."""
    rows = sorted((part.pool.name, int(row), part) for part in chosen for row in part.rows)
    lines = [
        f"images/{pool}_{row:05d}.png,{names[part.pool.targets[row]]},{part.split}"
        for pool, row, part in rows
    ]

    def files() -> Iterator[tuple[str, bytes]]:
        for pool, row, part in rows:
            content = BytesIO()
            Image.fromarray(part.pool.images[row]).save(content, "PNG")
            yield f"images/{pool}_{row:05d}.png", content.getvalue()

    text = "\n".join(["image,label,split", *lines, ""])
    return write_set(folder / "manifest.csv", text, files())


def _digits() -> _Pool:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InputError(
            "The digits come with scikit-learn, which is not installed.",
            remedy="Install it: pip install 'everyclass[digits]'",
        ) from error
    bunch = load_digits()
    small = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    images = small.repeat(DIGITS_ENLARGED, axis=1).repeat(DIGITS_ENLARGED, axis=2)
    return _Pool(name="digit", images=images, targets=np.asarray(bunch.target, dtype=np.int64))


def _fashion_mnist(download: Path) -> tuple[_Pool, _Pool, tuple[str, ...]]:
    from torchvision import datasets

    try:
        train = datasets.FashionMNIST(str(download), train=True, download=True)
        test = datasets.FashionMNIST(str(download), train=False, download=True)
    except (RuntimeError, OSError) as error:  # torchvision raises either when no mirror answers
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(": ")
        raise InputError(
            f"Fashion-MNIST could not be downloaded ({reason}).",
            where=str(download),
            remedy="Connect this machine to the internet, put the set's four files into "
            "FashionMNIST/raw there, or use --data digits, which needs no download.",
        ) from error
    pools = [
        _Pool(
            name=name,
            images=np.asarray(part.data.numpy(), dtype=np.uint8),
            targets=np.asarray(part.targets.numpy(), dtype=np.int64),
        )
        for name, part in (("train", train), ("test", test))
    ]
    return pools[0], pools[1], tuple(train.classes)
