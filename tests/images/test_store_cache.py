"""The shared store: the same pixels for the next run, nothing stale, never more than allowed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everyclass.images import store_cache
from everyclass.images.pixels import load_image
from everyclass.images.store import ImageStore
from everyclass.images.store_cache import open_shared
from everyclass.images.table import ImageTable

SIDE = 8
NEEDED = ImageStore.bytes_needed(6, side=SIDE)
HOUR = 3600


def write(path: Path, *, seed: int, age: float = HOUR) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    os.utime(path, (time.time() - age, time.time() - age))


def images(folder: Path, *, seed: int = 0) -> ImageTable:
    folder.mkdir()
    for k in range(6):
        write(folder / f"{k}.png", seed=seed + k)
    return table_of(folder)


def table_of(folder: Path) -> ImageTable:
    paths = [str(path) for path in sorted(folder.iterdir())]
    return ImageTable.from_lists(paths, [0, 1, 0, 1, 0, 1], classes=("a", "b"))


def opened(table: ImageTable, cache: Path, *, side: int = SIDE, limit: int = 10**9) -> ImageStore:
    store, why_not = open_shared(table, side=side, threads=1, folder=cache, limit_bytes=limit)
    assert store is not None, why_not
    return store


def fill(table: ImageTable, cache: Path, **changes: int) -> None:
    with opened(table, cache, **changes) as store:
        store.gather(range(6))


def decoded(table: ImageTable) -> np.ndarray:
    return np.stack([load_image(path, side=SIDE) for path in table.images])


def test_the_next_run_decodes_nothing(tmp_path: Path) -> None:
    table = images(tmp_path / "a")
    fill(table, tmp_path / "cache")
    labels = ImageTable.from_lists(table.images, [1] * 6, classes=("a", "b"))
    for again in (table, labels):  # labels are nothing of an image
        with opened(again, tmp_path / "cache") as store:
            assert store.stored().all()
            np.testing.assert_array_equal(store.gather(range(6)), decoded(table))


@pytest.mark.parametrize("change", ["content", "time", "side", "version", "row"])
def test_what_has_changed_is_not_taken_from_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    table, side = images(tmp_path / "a"), SIDE
    fill(table, tmp_path / "cache")
    if change == "content":
        write(tmp_path / "a" / "3.png", seed=99, age=2 * HOUR)
    if change == "time":
        os.utime(tmp_path / "a" / "3.png", (1e9, 1e9))
    if change == "side":
        side = SIDE + 1
    if change == "version":
        monkeypatch.setattr(store_cache, "PIXELS_VERSION", 999)
    if change == "row":
        table = table.take([1, 0, 2, 3, 4, 5])
    with opened(table, tmp_path / "cache", side=side) as store:
        assert not store.stored().any()
        if side == SIDE:
            np.testing.assert_array_equal(store.gather(range(6)), decoded(table))


def test_the_one_used_longest_ago_makes_room(tmp_path: Path) -> None:
    a, b, c = (images(tmp_path / name, seed=10 * k) for k, name in enumerate("abc"))
    cache, limit = tmp_path / "cache", 2 * NEEDED + 1000  # headers count too
    for k, table in enumerate((a, b)):
        fill(table, cache, limit=limit)
        place = next(one for one in cache.iterdir() if one.stat().st_mtime > time.time() - HOUR)
        os.utime(place, (time.time() - (k + 2) * HOUR,) * 2)
    fill(b, cache, limit=limit)  # older, but used again
    fill(c, cache, limit=limit)
    assert len(list(cache.iterdir())) == 2
    with opened(b, cache, limit=limit) as store:
        assert store.stored().all()


def test_too_large_has_no_store_and_says_why(tmp_path: Path) -> None:
    table = images(tmp_path / "a")
    found = open_shared(
        table, side=SIDE, threads=1, folder=tmp_path / "cache", limit_bytes=NEEDED - 1
    )
    assert found[0] is None
    assert "exceed" in found[1]
    assert not (tmp_path / "cache").exists()


def test_a_file_written_just_now_may_change_within_the_tick(tmp_path: Path) -> None:
    table = images(tmp_path / "a")
    write(tmp_path / "a" / "0.png", seed=0, age=0)
    store, why_not = open_shared(
        table, side=SIDE, threads=1, folder=tmp_path / "cache", limit_bytes=10**9
    )
    assert store is None
    assert "two seconds" in why_not


def test_a_folder_that_cannot_be_written_has_no_store(tmp_path: Path) -> None:
    table = images(tmp_path / "a")
    (tmp_path / "cache").write_text("a file")
    store, why_not = open_shared(
        table, side=SIDE, threads=1, folder=tmp_path / "cache", limit_bytes=10**9
    )
    assert store is None
    assert why_not


def test_removed_while_used_it_stays_readable(tmp_path: Path) -> None:
    a, b = images(tmp_path / "a"), images(tmp_path / "b", seed=10)
    cache, limit = tmp_path / "cache", NEEDED + 1000
    with opened(a, cache, limit=limit) as store:
        store.gather(range(6))
        fill(b, cache, limit=limit)
        assert len(list(cache.iterdir())) == 1
        np.testing.assert_array_equal(store.gather(range(6)), decoded(a))


_RUN = """
import sys
from pathlib import Path
import numpy as np
from everyclass.images.readers import read_table
from everyclass.images.store_cache import open_shared
table = read_table(sys.argv[1])
store, why_not = open_shared(
    table, side=8, threads=2, folder=Path(sys.argv[2]), limit_bytes=10**9
)
print(int(store.gather(range(len(table))).astype(np.int64).sum()), why_not)
"""


def test_processes_that_begin_together_agree(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("a", "b"):
        images(tmp_path / "data" / name)
    command = [sys.executable, "-c", _RUN, str(tmp_path / "data"), str(tmp_path / "cache")]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = {run.communicate()[0] for run in runs}
    assert len(told) == 1
    assert [run.returncode for run in runs] == [0, 0, 0]
    (place,) = (tmp_path / "cache").iterdir()
    assert sorted(os.listdir(place)) == ["checks.u32", "pixels.u8", "store.json"]
