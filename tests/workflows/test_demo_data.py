"""The long-tailed sets of real images. Fashion-MNIST is a stand-in here: nothing is downloaded."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits
from torchvision import datasets

from everyclass.errors import InputError
from everyclass.images.readers import read_table
from everyclass.workflows.demo_data import long_tail_counts, write_digits, write_fashion_mnist


def rows_of(manifest: Path) -> list[dict[str, str]]:
    with open(manifest, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def counts_of(rows: list[dict[str, str]], split: str) -> list[int]:
    counts = Counter(row["label"] for row in rows if row["split"] == split)
    return [counts[name] for name in sorted(counts)]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests only read it."""
    return write_digits(tmp_path_factory.mktemp("digits"), imbalance_ratio=20.0, seed=0)


def test_digits_have_a_long_tail_and_a_balanced_test(digits: Path) -> None:
    rows = rows_of(digits)
    train, val = counts_of(rows, "train"), counts_of(rows, "val")
    together = [a + b for a, b in zip(train, val)]

    assert counts_of(rows, "test") == [40] * 10
    # The rarest digit, 8, has 174 images, so 134 beside the test. 134 * 20 ** (-c / 9) is
    # 134, 96.1, 68.9, 49.4, 35.4, 25.4, 18.2, 13.0, 9.3, 6.7.
    assert together == [134, 96, 69, 49, 36, 25, 18, 13, 9, 7]
    assert val == [27, 19, 14, 10, 7, 5, 4, 3, 2, 2]


def test_digits_are_the_bundled_images_enlarged(digits: Path) -> None:
    bunch = load_digits()
    rows = rows_of(digits)
    numbers = [int(Path(row["image"]).stem.removeprefix("digit_")) for row in rows]

    assert len(set(numbers)) == len(rows)  # no image twice, so none on two sides
    for number, row in zip(numbers[::50], rows[::50]):
        pixels = np.asarray(Image.open(digits.parent / row["image"]))
        assert row["label"] == str(bunch.target[number])
        assert pixels.shape == (32, 32)
        np.testing.assert_array_equal(pixels[::4, ::4], np.rint(bunch.images[number] * 255 / 16))
        np.testing.assert_array_equal(pixels, np.kron(pixels[::4, ::4], np.ones((4, 4))))


def test_the_reader_takes_the_digits_with_their_splits(digits: Path) -> None:
    table = read_table(digits)

    assert table.classes == tuple("0123456789")
    assert table.counts("test").tolist() == [40] * 10
    assert table.has_split("val")
    assert not table.set_aside


def test_digits_depend_on_the_seed_alone(digits: Path, tmp_path: Path) -> None:
    text = digits.read_text()

    assert write_digits(tmp_path, seed=0).read_text() == text
    with pytest.raises(InputError, match=r"already another manifest\.csv"):
        write_digits(tmp_path, seed=1)
    assert (tmp_path / "manifest.csv").read_text() == text


@pytest.mark.parametrize(
    ("ratio", "message"),
    [(0.5, "imbalance ratio is 0.5; it must be 1 or more"), (100.0, "leave the rarest 1; train")],
)
def test_digits_refuse_a_ratio_out_of_range(tmp_path: Path, ratio: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_digits(tmp_path, imbalance_ratio=ratio)


def test_digits_without_scikit_learn_say_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)

    with pytest.raises(InputError) as caught:
        write_digits(tmp_path)

    assert str(caught.value) == (
        "The digits come with scikit-learn, which is not installed. "
        "Install it: pip install 'everyclass[digits]'"
    )


@given(
    n=st.integers(200, 60_000), classes=st.integers(2, 20), ratio=st.floats(1.0, 200.0)
)  # fmt: skip
def test_long_tail_counts_fall_and_add_up(n: int, classes: int, ratio: float) -> None:
    exact = n * ratio ** -(np.arange(classes) / (classes - 1))
    exact /= (ratio ** -(np.arange(classes) / (classes - 1))).sum()
    if exact[-1] < 5:
        return

    counts = long_tail_counts(n, classes=classes, imbalance_ratio=ratio)

    assert counts.sum() == n
    assert (np.diff(counts) <= 0).all()
    assert np.abs(counts - exact).max() <= 1 + 1e-6


NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
         "Bag", "Ankle boot")  # fmt: skip


def stand_in(per_class: int) -> Callable[..., SimpleNamespace]:
    """What torchvision's class gives, with grey level 10 * target + 1 (train) or + 2 (test)."""

    def make(root: str, *, train: bool, download: bool) -> SimpleNamespace:
        assert download
        assert Path(root).name == "download"
        targets = torch.arange(10).repeat(per_class)
        grey = (10 * targets + (1 if train else 2)).to(torch.uint8)
        images = grey[:, None, None].expand(-1, 28, 28).contiguous()
        return SimpleNamespace(data=images, targets=targets, classes=list(NAMES))

    return make


def test_fashion_mnist_becomes_a_long_tailed_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "FashionMNIST", stand_in(per_class=160))

    manifest = write_fashion_mnist(tmp_path, n=500, imbalance_ratio=10.0)

    table = read_table(manifest)
    rows = rows_of(manifest)
    assert set(table.classes) == set(NAMES)
    assert table.counts("test").tolist() == [100] * 10
    kept = Counter(row["label"] for row in rows if row["split"] != "test")
    assert [kept[name] for name in NAMES] == long_tail_counts(
        500, classes=10, imbalance_ratio=10.0
    ).tolist()
    for row in rows[::40]:
        pixels = np.asarray(Image.open(tmp_path / row["image"]))
        source = 2 if row["split"] == "test" else 1
        assert pixels.shape == (28, 28)
        assert (pixels == 10 * NAMES.index(row["label"]) + source).all()


def test_fashion_mnist_refuses_more_than_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "FashionMNIST", stand_in(per_class=120))

    with pytest.raises(InputError, match=r"'T-shirt/top'; Fashion-MNIST has 120. Take a smaller n"):
        write_fashion_mnist(tmp_path, n=600, imbalance_ratio=10.0)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nTried"),
         "Error downloading train-images-idx3-ubyte.gz"),
        (OSError("[Errno 101] Network is unreachable"), r"\[Errno 101\] Network is unreachable"),
    ],
)  # fmt: skip
def test_no_download_is_said_with_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(root: str, *, train: bool, download: bool) -> None:
        raise error

    monkeypatch.setattr(datasets, "FashionMNIST", fail)

    with pytest.raises(InputError, match=rf"could not be downloaded \({reason}\).*--data digits"):
        write_fashion_mnist(tmp_path)

    assert not (tmp_path / "manifest.csv").exists()
