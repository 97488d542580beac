"""What one training keeps for the next: decoded images and the audit, and never another result."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from everyclass.images.damage import UnreadableImage
from everyclass.workflows.cache_folder import cache_folder
from everyclass.workflows.events import Event, ImagesKept
from everyclass.workflows.prepare import DataSource
from everyclass.workflows.train import TrainOptions, resume, train
from image_folders import write_image_folder

SMALL = {
    "model": "test_resnet",
    "image_size": 32,
    "epochs": 1,
    "batch_size": 8,
    "threads": 1,
    "device": "cpu",
}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataSource:
    """Images that have been left alone for an hour, and a cache of its own."""
    monkeypatch.setenv("EVERYCLASS_CACHE", str(tmp_path / "cache"))
    folder = write_image_folder(tmp_path / "images", {"ash": 30, "birch": 20})
    for path in folder.rglob("*.png"):
        os.utime(path, (time.time() - 3600, time.time() - 3600))
    return DataSource(source=str(folder))


def run(source: DataSource, out: Path, *, cached: bool) -> tuple[bytes, str]:
    """The weights, and what was said of the images."""
    told: list[Event] = []
    train(source, out, TrainOptions(wishes=SMALL, cached=cached), on_event=told.append)
    (kept,) = (event.sentence for event in told if isinstance(event, ImagesKept))
    return (out / "model.safetensors").read_bytes(), kept


def decode_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise UnreadableImage("nothing is to be decoded")

    monkeypatch.setattr("everyclass.images.examine.decode_resized", refuse)
    monkeypatch.setattr("everyclass.images.store.load_image", refuse)


def test_the_next_run_decodes_nothing_and_is_the_same(
    source: DataSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, kept = run(source, tmp_path / "plain", cached=False)
    assert kept.endswith("are kept while this run lasts.")
    assert not cache_folder().exists()
    first, kept = run(source, tmp_path / "first", cached=True)
    assert "kept in" in kept
    assert "at most 10 GB" in kept
    decode_nothing(monkeypatch)
    second, _ = run(source, tmp_path / "second", cached=True)
    assert plain == first == second
    for name in ("audit.json", "recipe.yaml", "evaluation.json"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_a_changed_image_is_decoded_again(source: DataSource, tmp_path: Path) -> None:
    first, _ = run(source, tmp_path / "first", cached=True)
    image = next(Path(source.source).rglob("*.png"))
    other = write_image_folder(tmp_path / "other", {"ash": 1}, seed=99) / "ash" / "ash_000.png"
    image.write_bytes(other.read_bytes())
    os.utime(image, (time.time() - 60, time.time() - 60))
    plain, _ = run(source, tmp_path / "plain", cached=False)
    second, _ = run(source, tmp_path / "second", cached=True)
    assert second == plain != first


def test_no_room_in_the_cache_still_trains(
    source: DataSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = run(source, tmp_path / "plain", cached=False)
    monkeypatch.setenv("EVERYCLASS_CACHE_GB", "0")
    small, kept = run(source, tmp_path / "small", cached=True)
    assert "while this run lasts (not for later ones: " in kept
    assert small == plain
    assert not (cache_folder() / "images").exists()


def test_resuming_after_the_cache_was_emptied(source: DataSource, tmp_path: Path) -> None:
    plain, _ = run(source, tmp_path / "plain", cached=False)

    def cut(event: Event) -> None:
        if type(event).__name__ == "EpochDone":
            raise OSError("power cut")

    options = TrainOptions(wishes=SMALL, cached=True)
    with pytest.raises(OSError, match="power cut"):
        train(source, tmp_path / "cut", options, on_event=cut)
    for path in (cache_folder() / "images").rglob("*"):
        if path.is_file():
            path.unlink()
    resume(source, tmp_path / "cut", TrainOptions(cached=True), on_event=lambda _: None)
    assert (tmp_path / "cut" / "model.safetensors").read_bytes() == plain
