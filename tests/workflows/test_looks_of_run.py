"""Size and brightness of images on their way to slices: from the audit and from the pass."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everyclass.contracts import Evaluation
from everyclass.images.greys import mean_greys_of
from everyclass.images.records import ImageFacts, records_of
from everyclass.images.table import ImageTable
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.evaluate import evaluate
from everyclass.workflows.looks import Looks, grey_words, size_words, sliced
from everyclass.workflows.train import TrainOptions, train
from image_folders import write_image_folder

SMALL = {"model": "test_resnet", "image_size": 32, "batch_size": 16, "threads": 1, "device": "cpu"}


def test_brightness_is_that_of_the_grey_image() -> None:
    """Oracle: Pillow's own grey image, which rounds each pixel."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), dtype=np.uint8)
    greys = [np.asarray(Image.fromarray(one).convert("L")).mean() / 255 for one in pixels]
    np.testing.assert_allclose(mean_greys_of(pixels), greys, atol=0.5 / 255)
    facts = [
        ImageFacts(
            row=row,
            digest=bytes(16),
            width=90 + row,
            height=70,
            kind=("PNG", "RGB", 8),
            reduced=False,
            pixels=one,
        )
        for row, one in enumerate(pixels)
    ]
    looks = Looks.of_records(records_of(facts), side=20)
    np.testing.assert_allclose(looks.greys, mean_greys_of(pixels), atol=1e-6)
    assert looks.short_sides.tolist() == [70, 70, 70]
    assert looks.take(np.array([2])).greys[0] == looks.greys[2]


def test_words_say_what_was_cut() -> None:
    assert grey_words(None, 0.21) == "images darker than 0.21 (mean grey, from 0 to 1)"
    assert grey_words(0.21, None) == "images of mean grey 0.21 or lighter (from 0 to 1)"
    assert grey_words(0.21, 0.4) == "images of mean grey 0.21 to 0.40 (from 0 to 1)"
    assert size_words(None, 1_500) == "images with a shorter side below 1,500 px"
    assert size_words(150, 150) == "images with a shorter side of 150 px"
    assert size_words(150, 300) == "images with a shorter side of 150 to 299 px"
    assert size_words(300, None) == "images with a shorter side of 300 px or more"


def test_without_looks_groups_are_still_looked_at() -> None:
    table = ImageTable.from_lists(
        [f"{k}.png" for k in range(60)],
        [0] * 60,
        classes=("a",),
        groups=["dark room"] * 30 + ["day"] * 30,
    )
    correct = np.arange(60) >= 20
    found = sliced(correct, table.labels(), classes=("a",), table=table, looks=None)
    (worst,) = found.shown
    assert worst.value == "dark room"


def test_a_training_and_an_evaluation_of_it_find_the_same_slices(tmp_path: Path) -> None:
    images = write_image_folder(tmp_path / "images", {"ash": 150, "birch": 150})
    data, run = DataSource(source=str(images)), tmp_path / "run"
    options = TrainOptions(wishes={**SMALL, "epochs": 1, "test_fraction": 0.5})
    train(data, run, options, on_event=lambda _: None)
    kept = json.loads((run / "evaluation.json").read_text())
    stored = Evaluation.from_dict(kept).slices
    found = evaluate(run, data, on_progress=lambda *_: None).evaluation.slices
    assert stored is not None
    assert found is not None
    assert stored.notes == ("the shorter side is the same of all images",)
    assert stored.looked_at == found.looked_at > 0
    assert [one.words for one in stored.slices] == [one.words for one in found.slices]
    assert [one.p for one in stored.slices] == pytest.approx([one.p for one in found.slices])
    del kept["slices"]  # as an earlier version wrote it
    assert Evaluation.from_dict(kept).slices is None
