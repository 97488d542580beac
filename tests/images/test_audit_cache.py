"""The cache of an audit: the same audit, nothing read again, every change noticed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everyclass.images import audit_cache
from everyclass.images import examine as examine_module
from everyclass.images.audit import audit_images
from everyclass.images.audit_cache import AuditCache
from everyclass.images.audit_values import Audit
from everyclass.images.store import ImageStore
from everyclass.images.table import ImageTable

SIDE, N = 24, 70


@pytest.fixture
def table(tmp_path: Path) -> ImageTable:
    rng = np.random.default_rng(0)
    paths = []
    for i in range(N):
        path = tmp_path / "images" / f"{i:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (30 + i % 3, 28, 3), dtype=np.uint8)).save(path)
        paths.append(path)
    (tmp_path / "images" / "07.png").write_bytes(b"no image")
    long_ago = time.time() - 60
    for path in paths:
        os.utime(path, (long_ago, long_ago))
    return ImageTable.from_lists(
        [str(path) for path in paths],
        labels=[0, 1] * (N // 2),
        classes=["a", "b"],
        source=str(tmp_path),
    )


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that were read."""
    names: list[str] = []
    plain = examine_module.read_bytes

    def noted(path: str) -> bytes:
        names.append(Path(path).stem)
        return plain(path)

    monkeypatch.setattr(examine_module, "read_bytes", noted)
    return names


def again(table: ImageTable, folder: Path, *, side: int = SIDE, **options: object) -> Audit:
    cache = AuditCache(folder, source=table.source, side=side)
    return audit_images(
        table,
        side=side,
        threads=2,
        max_unreadable=0.2,
        cache=cache,
        **options,  # type: ignore[arg-type]
    )


def test_what_has_not_changed_is_not_read_again_and_gives_the_same_audit(
    table: ImageTable, tmp_path: Path, read: list[str]
) -> None:
    plain = audit_images(table, side=SIDE, threads=2, max_unreadable=0.2)
    assert again(table, tmp_path / "cache") == plain
    read.clear()
    assert again(table, tmp_path / "cache") == plain
    assert read == ["07"]  # what could not be read is tried again


def test_changes_are_noticed(table: ImageTable, tmp_path: Path, read: list[str]) -> None:
    again(table, tmp_path / "cache")
    touched, longer = Path(table.image(3)), Path(table.image(50))
    os.utime(touched, (time.time() - 30, time.time() - 30))
    then = longer.stat().st_mtime_ns
    longer.write_bytes(longer.read_bytes() + b"\0")
    os.utime(longer, ns=(then, then))
    Image.new("RGB", (9, 9)).save(tmp_path / "new.png")
    images = [*table.images, str(tmp_path / "new.png")]
    grown = ImageTable.from_lists(images[1:], labels=[0] * N, classes=["a"], source=table.source)
    read.clear()
    found = again(grown, tmp_path / "cache")
    assert sorted(read) == ["03", "07", "50", "new"]
    assert found == audit_images(grown, side=SIDE, threads=2, max_unreadable=0.2)


def test_another_order_and_part_of_the_images_find_their_own_records(
    table: ImageTable, tmp_path: Path, read: list[str]
) -> None:
    again(table, tmp_path / "cache")
    some = ImageTable.from_lists(
        [table.image(row) for row in (60, 2, 33)],
        labels=[1, 0, 1],
        classes=["a", "b"],
        source=table.source,
    )
    read.clear()
    assert again(some, tmp_path / "cache") == audit_images(some, side=SIDE, threads=1)
    assert len(read) == 3  # by the audit without a cache


def test_another_size_or_version_reads_everything(
    table: ImageTable, tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    again(table, tmp_path / "cache")
    read.clear()
    again(table, tmp_path / "cache", side=16)
    assert len(read) == N
    monkeypatch.setattr(audit_cache, "RECORDS_VERSION", 999)
    read.clear()
    again(table, tmp_path / "cache")
    assert len(read) == N


def test_files_that_were_just_written_are_not_trusted(
    table: ImageTable, tmp_path: Path, read: list[str]
) -> None:
    now = time.time()
    os.utime(table.image(5), (now, now))
    again(table, tmp_path / "cache")
    read.clear()
    again(table, tmp_path / "cache")
    assert sorted(read) == ["05", "07"]


def test_a_damaged_or_unwritable_cache_is_none(
    table: ImageTable, tmp_path: Path, read: list[str]
) -> None:
    plain = again(table, tmp_path / "cache")
    for file in (tmp_path / "cache").iterdir():
        file.write_bytes(file.read_bytes()[:500])
    read.clear()
    assert again(table, tmp_path / "cache") == plain
    assert len(read) == N
    (tmp_path / "file").write_text("in the way")
    assert again(table, tmp_path / "file") == plain


def test_what_the_store_lacks_is_read_all_the_same(
    table: ImageTable, tmp_path: Path, read: list[str]
) -> None:
    again(table, tmp_path / "cache")
    with ImageStore(table, side=SIDE, threads=1, folder=tmp_path / "store") as store:
        store.put(0, np.zeros((SIDE, SIDE, 3), dtype=np.uint8))
        read.clear()
        again(table, tmp_path / "cache", store=store)
        assert len(read) == N - 1
        assert store.stored().sum() == N - 1


def test_the_oldest_caches_make_room(
    table: ImageTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_cache, "MOST_FILES", 2)
    for side in (8, 10, 12):
        again(table, tmp_path / "cache", side=side)
        for file in (tmp_path / "cache").iterdir():
            os.utime(file, (file.stat().st_mtime - 10, file.stat().st_mtime - 10))
    assert len(list((tmp_path / "cache").iterdir())) == 2
