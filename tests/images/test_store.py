"""The store of resized images: same pixels as decoding, and never another table's or half a row."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from everyclass.errors import InputError
from everyclass.images import store_files as store_module
from everyclass.images.pixels import load_image
from everyclass.images.store import ImageStore
from everyclass.images.table import ImageTable

SIDE = 8


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for i in range(6):
        path = tmp_path / "images" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(path)
        paths.append(str(path))
    return ImageTable.from_lists(paths, [0, 1, 0, 1, 0, 1], classes=("a", "b"))


def pixels_of(table: ImageTable, rows) -> np.ndarray:
    return np.stack([load_image(table.image(row), side=SIDE) for row in rows])


def opened(table: ImageTable, folder, **changes) -> ImageStore:
    return ImageStore(table, **{"side": SIDE, "threads": 2, "folder": folder, **changes})


@pytest.mark.parametrize("with_file", [True, False])
def test_gather_gives_the_decoded_pixels_in_the_order_asked(table, tmp_path, with_file):
    rows = [4, 0, 0, 5]
    with opened(table, tmp_path / "store" if with_file else None) as store:
        for _ in range(2):  # decoded, then from the file
            batch = store.gather(rows)
            np.testing.assert_array_equal(batch, pixels_of(table, rows))
            batch[:] = 0  # a copy: the store keeps its own
        assert store.stored().tolist() == [with_file and row in rows for row in range(6)]
        assert store.gather([]).shape == (0, SIDE, SIDE, 3)
        assert (store.without_file == "") == with_file


def test_a_second_opening_reads_and_does_not_decode(table, tmp_path):
    expected = pixels_of(table, range(6))
    with opened(table, tmp_path / "store") as store:
        for row in range(6):
            store.put(row, expected[row])
    for path in table.images:
        os.remove(path)
    with opened(table, tmp_path / "store") as store:
        np.testing.assert_array_equal(store.gather(range(6)), expected)


def test_views_share_the_file_and_keep_their_own_row_numbers(table, tmp_path):
    with opened(table, tmp_path / "store") as store:
        view = store.take([5, 3, 1]).take([2, 0])
        assert len(view) == 2
        np.testing.assert_array_equal(view.gather([0, 1]), pixels_of(table, [1, 5]))
        assert np.flatnonzero(store.stored()).tolist() == [1, 5]
        view.put(1, np.full((SIDE, SIDE, 3), 9, np.uint8))
        assert store.gather([5]).max() == 9


@pytest.mark.parametrize("change", ["side", "order", "version"])
def test_a_store_of_something_else_is_never_reused(table, tmp_path, monkeypatch, change):
    with opened(table, tmp_path / "store") as store:
        for row in range(6):
            store.put(row, np.zeros((SIDE, SIDE, 3), np.uint8))
    if change == "order":
        table = table.take([1, 0, 2, 3, 4, 5])
    if change == "version":
        monkeypatch.setattr(store_module, "PIXELS_VERSION", 999)
    side = SIDE + 1 if change == "side" else SIDE
    with opened(table, tmp_path / "store", side=side) as other:
        assert not other.stored().any()
        expected = np.stack([load_image(path, side=side) for path in table.images])
        np.testing.assert_array_equal(other.gather(range(6)), expected)


def test_a_damaged_row_is_decoded_again(table, tmp_path):
    folder = tmp_path / "store"
    with opened(table, folder) as store:
        store.gather(range(6))
    with (folder / "pixels.u8").open("r+b") as file:  # half of row 2, as a power cut leaves it
        file.seek(2 * SIDE * SIDE * 3)
        file.write(b"\0" * (SIDE * SIDE))
    with opened(table, folder) as store:
        assert store.stored().tolist() == [True, True, False, True, True, True]
        np.testing.assert_array_equal(store.gather(range(6)), pixels_of(table, range(6)))


@pytest.mark.parametrize("name", ["store.json", "pixels.u8", "checks.u32"])
def test_a_store_with_a_missing_or_cut_file_is_made_anew(table, tmp_path, name):
    folder = tmp_path / "store"
    with opened(table, folder) as store:
        store.gather(range(6))
    os.truncate(folder / name, 5)
    with opened(table, folder) as store:
        assert not store.stored().any()
        np.testing.assert_array_equal(store.gather([3]), pixels_of(table, [3]))
    os.remove(folder / name)
    with opened(table, folder) as store:
        assert not store.stored().any()
    assert sorted(os.listdir(folder)) == ["checks.u32", "pixels.u8", "store.json"]


def test_too_large_means_no_file_and_says_why(table, tmp_path, monkeypatch):
    needed = ImageStore.bytes_needed(6, side=SIDE)
    assert needed == 6 * (8 * 8 * 3 + 4)
    with opened(table, tmp_path / "a", limit_bytes=needed) as store:
        assert store.without_file == ""
    with opened(table, tmp_path / "b", limit_bytes=needed - 1) as store:
        assert "exceed the limit" in store.without_file
        np.testing.assert_array_equal(store.gather([2]), pixels_of(table, [2]))
        assert not (tmp_path / "b").exists()
    monkeypatch.setattr(
        store_module.shutil, "disk_usage", lambda _: store_module.shutil._ntuple_diskusage(9, 9, 9)
    )
    with opened(table, tmp_path / "c") as store:
        assert "0.0 GB free" in store.without_file


def test_a_disk_that_fills_up_means_no_file(table, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.os, "posix_fallocate", full, raising=False)
    with opened(table, tmp_path / "store") as store:
        assert "No space left on device" in store.without_file
    assert os.listdir(tmp_path / "store") == []


def test_an_image_that_disappeared_is_named(table, tmp_path):
    os.remove(table.image(1))
    with (
        opened(table, tmp_path / "store") as store,
        pytest.raises(InputError, match=r"1\.png: no such file\. It was in the data set"),
    ):
        store.gather([0, 1])


def test_an_empty_table_has_an_empty_store(tmp_path):
    table = ImageTable.from_lists([], [])
    with opened(table, tmp_path / "store") as store:
        assert (len(store), store.without_file) == (0, "there are no images")
        assert store.gather([]).shape == (0, SIDE, SIDE, 3)


_FILL = """
import sys
from pathlib import Path
import numpy as np
from everyclass.images.store import ImageStore
from everyclass.images.table import ImageTable
table = ImageTable.from_lists([f"{i}.png" for i in range(4000)], [0] * 4000, classes=("a",))
store = ImageStore(table, side=64, threads=1, folder=Path(sys.argv[1]))
print("open", flush=True)
for row in range(4000):
    store.put(row, np.full((64, 64, 3), row % 251 + 1, np.uint8))
"""


def test_killed_at_any_moment_no_stored_row_is_wrong(tmp_path):
    """A real process, killed with SIGKILL while it writes: each row is whole or not stored."""
    table = ImageTable.from_lists([f"{i}.png" for i in range(4000)], [0] * 4000, classes=("a",))
    for delay in (0.0, 0.01, 0.03):
        writer = subprocess.Popen(
            [sys.executable, "-c", _FILL, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout.readline() == "open\n"
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        with ImageStore(table, side=64, threads=1, folder=tmp_path) as store:
            rows = np.flatnonzero(store.stored())
            batch = store.gather(rows)
            assert (batch == (rows % 251 + 1).astype(np.uint8)[:, None, None, None]).all()
    assert json.loads((tmp_path / "store.json").read_text())["n"] == 4000
