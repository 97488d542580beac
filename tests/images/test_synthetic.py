"""The demo's images: layout, determinism; structure tells the class and colour cannot."""

from __future__ import annotations

import csv
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from everyclass.errors import InputError
from everyclass.images.readers import read_table
from everyclass.images.synthetic import (
    DEMO_SHARES,
    contact_sheet,
    demo_counts,
    draw_tissue,
    write_demo_images,
    write_set,
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 images of 112 px: 40, 60, 200, 48 and 52 a class. Tests only read it."""
    return write_demo_images(tmp_path_factory.mktemp("demo"), n=400, side=112, threads=2)


def rows_of(manifest: Path) -> list[dict[str, str]]:
    with open(manifest, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def image_of(manifest: Path, row: dict[str, str]) -> Path:
    return manifest.parent / "train_thumbnails" / f"{row['image_id']}_thumbnail.jpg"


def test_layout_is_that_of_ubc_ocean(demo: Path) -> None:
    rows = rows_of(demo)

    assert demo.name == "train.csv"
    assert list(rows[0]) == ["image_id", "label", "image_width", "image_height", "is_tma"]
    assert Counter(row["label"] for row in rows) == {
        "CC": 40, "EC": 60, "HGSC": 200, "LGSC": 48, "MC": 52,
    }  # fmt: skip
    ids = [int(row["image_id"]) for row in rows]
    assert ids == sorted(set(ids))
    # Rows in the order of their ids: labels are mixed, as a sorted table would hide a fault.
    changes = sum(a["label"] != b["label"] for a, b in itertools.pairwise(rows))
    assert changes > 200
    assert len(list(demo.parent.glob("train_thumbnails/*"))) == 400
    with Image.open(image_of(demo, rows[0])) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (112, 112))


def test_the_reader_takes_the_folder_as_it_is(demo: Path) -> None:
    for source in (demo, demo.parent):
        table = read_table(source)

        assert table.classes == tuple(DEMO_SHARES)
        assert table.counts().tolist() == [40, 60, 200, 48, 52]
        assert not table.set_aside


def test_counts_are_the_shares() -> None:
    assert sum(DEMO_SHARES.values()) == pytest.approx(1.0)
    assert demo_counts(1000) == {"CC": 100, "EC": 150, "HGSC": 500, "LGSC": 120, "MC": 130}
    # By hand: 2, 3, 10, 2.4, 2.6; the one image left goes to the largest remainder, MC.
    assert demo_counts(20) == {"CC": 2, "EC": 3, "HGSC": 10, "LGSC": 2, "MC": 3}


@given(n=st.integers(20, 100_000))
def test_counts_add_up_and_miss_no_share_by_one(n: int) -> None:
    counts = demo_counts(n)

    assert sum(counts.values()) == n
    assert all(abs(counts[c] - n * share) < 1 for c, share in DEMO_SHARES.items())


def test_images_have_255_pixels_unless_told(tmp_path: Path) -> None:
    manifest = write_demo_images(tmp_path, n=20, threads=2)

    rows = rows_of(manifest)
    assert Counter(row["label"] for row in rows) == demo_counts(20)
    assert {(row["image_width"], row["image_height"]) for row in rows} == {("255", "255")}
    with Image.open(image_of(manifest, rows[0])) as image:
        assert image.size == (255, 255)


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_bytes_depend_on_the_seed_and_not_on_threads_or_repetition(tmp_path: Path) -> None:
    for name, threads, seed in (("a", 1, 0), ("b", 3, 0), ("other", 2, 1)):
        write_demo_images(tmp_path / name, n=20, side=64, seed=seed, threads=threads)
    first = digest(tmp_path / "a")

    assert digest(tmp_path / "b") == first
    assert not set(digest(tmp_path / "other").values()) & set(first.values())
    write_demo_images(tmp_path / "a", n=20, side=64, seed=0, threads=2)
    assert digest(tmp_path / "a") == first


GOLDEN = {
    "CC": (206.6, 155.6, 203.7, 8.16),
    "EC": (206.6, 155.6, 203.7, 9.17),
    "HGSC": (206.6, 155.6, 203.7, 9.17),
    "LGSC": (206.6, 155.6, 203.7, 10.46),
    "MC": (206.6, 155.6, 203.7, 8.59),
}
"""Channel means and mean absolute horizontal difference of seed 0 at side 128."""


@pytest.mark.parametrize("label", DEMO_SHARES)
def test_golden_statistics(label: str) -> None:
    """Of pixels before the JPEG encoder, whose bytes differ between versions of libjpeg."""
    pixels = draw_tissue(label, np.random.default_rng(0), side=128).astype(float)

    roughness = np.abs(np.diff(pixels, axis=1)).mean()

    np.testing.assert_allclose(pixels.reshape(-1, 3).mean(axis=0), GOLDEN[label][:3], atol=0.5)
    assert roughness == pytest.approx(GOLDEN[label][3], rel=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_a_generator_gives_every_class_the_same_colour_moments(seed: int) -> None:
    """Metamorphic: only the form changes with the label."""
    pictures = [draw_tissue(c, np.random.default_rng(seed), side=96) for c in DEMO_SHARES]
    flat = np.stack([p.reshape(-1, 3).astype(float) for p in pictures])

    assert np.ptp(flat.mean(axis=1), axis=0).max() < 0.4
    assert np.ptp(flat.std(axis=1), axis=0).max() < 0.4
    for one, other in itertools.pairwise(pictures):
        assert np.abs(one.astype(int) - other).mean() > 5


def balanced_accuracy(features: np.ndarray, labels: list[str]) -> float:
    """Of a logistic regression, mean over five folds."""
    classifier = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000)
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    scores = cross_val_score(
        classifier, features, labels, cv=folds, scoring="balanced_accuracy", n_jobs=1
    )
    return float(scores.mean())


def roughness_by_scale(pixels: np.ndarray) -> list[float]:
    """Gradients of the grey image (zero mean, unit variance) averaged over 1, 2, 4 and 8 pixels."""
    grey = pixels.mean(axis=2)
    grey = (grey - grey.mean()) / grey.std()
    features = []
    for k in (1, 2, 4, 8):
        blocks = grey.reshape(grey.shape[0] // k, k, grey.shape[1] // k, k).mean(axis=(1, 3))
        steps = np.hypot(np.diff(blocks, axis=0)[:, :-1], np.diff(blocks, axis=1)[:-1])
        features += [steps.mean(), steps.std(), blocks.std()]
    return features


def test_colour_is_at_chance_and_structure_is_not(demo: Path) -> None:
    """Chance is 0.2 of five classes. Its standard error with these counts is
    sqrt(0.16 (1/40 + 1/60 + 1/200 + 1/48 + 1/52)) / 5 = 0.024, so four of them reach 0.295.
    """
    rows = rows_of(demo)
    labels = [row["label"] for row in rows]
    images = [np.asarray(Image.open(image_of(demo, row))).astype(float) for row in rows]
    colour = np.array([np.r_[p.mean(axis=(0, 1)), p.std(axis=(0, 1))] for p in images])
    structure = np.array([roughness_by_scale(p) for p in images])

    assert balanced_accuracy(colour, labels) < 0.295
    assert 0.7 < balanced_accuracy(structure, labels) < 0.99


def test_stain_and_brightness_vary_from_image_to_image(demo: Path) -> None:
    means = np.array(
        [np.asarray(Image.open(image_of(demo, row))).mean(axis=(0, 1)) for row in rows_of(demo)]
    )

    assert (means.std(axis=0) > 8).all()
    assert (means[:, 0] - means[:, 2]).std() > 5  # red against blue: the tint, not the brightness


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 19}, "n is 19; the demo needs at least 20."),
        ({"side": 16}, "side is 16; the demo needs at least 32."),
        ({"threads": 0}, "threads is 0; the demo needs at least 1."),
    ],
)
def test_too_small_numbers_are_refused(
    tmp_path: Path, arguments: dict[str, int], message: str
) -> None:
    usual = {"n": 20, "side": 32, "threads": 1}

    with pytest.raises(InputError) as caught:
        write_demo_images(tmp_path, **(usual | arguments))

    assert str(caught.value) == message
    assert not list(tmp_path.iterdir())


def test_anothers_train_csv_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("image_id,label\n4,HGSC\n")

    with pytest.raises(InputError, match=r"already another train\.csv"):
        write_demo_images(tmp_path, n=20, side=32, threads=1)

    assert (tmp_path / "train.csv").read_text() == "image_id,label\n4,HGSC\n"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("")

    with pytest.raises(InputError, match=r"demo: The images cannot be written \(.+\)"):
        write_demo_images(tmp_path / "demo", n=20, side=32, threads=1)


def test_a_set_cut_short_has_no_manifest(tmp_path: Path) -> None:
    """Neither on the first writing, nor when a whole set was there and is written again."""

    def cut_short() -> Iterator[tuple[str, bytes]]:
        yield "images/a.png", b"a"
        raise KeyboardInterrupt

    whole = [("images/a.png", b"a"), ("images/b.png", b"b")]
    manifest = tmp_path / "manifest.csv"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            write_set(manifest, "image\na\nb\n", cut_short())
        assert not manifest.exists()
        write_set(manifest, "image\na\nb\n", whole)
        assert manifest.read_text() == "image\na\nb\n"
    assert (tmp_path / "images" / "b.png").read_bytes() == b"b"


def test_an_unknown_class_is_refused_with_the_five() -> None:
    with pytest.raises(InputError, match=r"class 'PC'\. Choose from CC, EC, HGSC, LGSC, MC"):
        draw_tissue("PC", np.random.default_rng(0))


def test_contact_sheet_has_a_row_for_each_class() -> None:
    def plain(*colour: int) -> np.ndarray:
        return np.full((10, 10, 3), colour, np.uint8)

    images = [plain(255, 0, 0), plain(0, 0, 255), plain(0, 255, 0), plain(9, 9, 9)]

    sheet = contact_sheet(images, ["b", "a", "b", "b"], columns=2, tile=20)

    # Two rows of two tiles of 20 with gaps of 4, names in the first 60; a's row comes first.
    assert sheet.size == (60 + 2 * 24, 4 + 2 * 24)
    assert sheet.getpixel((70, 14)) == (0, 0, 255)
    assert sheet.getpixel((70, 38)) == (255, 0, 0)
    assert sheet.getpixel((94, 38)) == (0, 255, 0)
    assert sheet.getpixel((94, 14)) == (255, 255, 255)  # the class has one image
    assert np.asarray(sheet)[:, :56].min() < 128  # its name


@pytest.mark.parametrize("labels", [[], ["a", "b"]])
def test_contact_sheet_wants_a_label_an_image(labels: list[str]) -> None:
    with pytest.raises(InputError, match="one for each is expected"):
        contact_sheet([np.zeros((4, 4, 3), np.uint8)] * min(len(labels), 1), labels)
