"""Processes examine as this process does, keep what it would keep, and outlive what kills one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from everyclass.errors import InputError
from everyclass.images import audit as audit_module
from everyclass.images.audit import examine_images
from everyclass.images.examine import Chunk
from everyclass.images.examiners import Examiners
from everyclass.images.readers import read_table
from everyclass.images.store import ImageStore
from everyclass.images.table import ImageTable
from image_folders import write_image_folder

SIDE = 16


@pytest.fixture(name="table")
def _table(tmp_path: Path) -> ImageTable:
    folder = write_image_folder(tmp_path / "set", {"a": 20, "b": 11})
    (folder / "a" / "a_003.png").write_bytes(b"not an image")
    (folder / "b" / "cut.png").write_bytes((folder / "b" / "b_000.png").read_bytes()[:200])
    return read_table(folder)


def test_processes_see_what_threads_see(
    table: ImageTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_threads = examine_images(table, side=SIDE, threads=2)
    monkeypatch.setattr(audit_module, "_WORTH_PROCESSES", 1)
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1]
    )
    with ImageStore(table, side=SIDE, threads=1, folder=tmp_path / "store") as store:
        by_processes = examine_images(table, side=SIDE, threads=2, store=store)
        assert len(started) == 2
        assert all(one.poll() is not None for one in started), "they end with the audit"
        readable = by_processes.records()["row"]
        assert np.array_equal(np.flatnonzero(store.stored()), readable)
        with ImageStore(table, side=SIDE, threads=1) as decoded:
            assert np.array_equal(store.gather(readable), decoded.gather(readable))
    assert by_processes.records().tobytes() == by_threads.records().tobytes()
    assert by_processes.finish(table, side=SIDE) == by_threads.finish(table, side=SIDE)
    assert len(readable) == len(table) - 2


def test_a_file_that_kills_its_decoder_is_a_fault_of_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_image_folder(tmp_path / "set", {"a": 6})
    (tmp_path / "path").mkdir()
    # Workers find this module first: it ends them on one content, as a decoder with a bug would.
    (tmp_path / "path" / "simplejpeg.py").write_text(
        "import os, signal\n"
        "def decode_jpeg(content, *args, **more):\n"
        "    os.kill(os.getpid(), signal.SIGSEGV)\n"
        "def decode_jpeg_header(content, *args, **more):\n"
        "    os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "path")
    images = sorted(map(str, folder.rglob("*.png")))
    Image.new("RGB", (9, 9)).save(folder / "deadly.jpg")
    images.insert(2, str(folder / "deadly.jpg"))
    with Examiners() as workers:
        records, faults = workers.examine(Chunk(rows=range(7), images=images, side=SIDE))
        assert [(one.row, one.reason) for one in faults] == [
            (2, "the process that read it ended (SIGSEGV)")
        ]
        assert records["row"].tolist() == [0, 1, 3, 4, 5, 6]


def test_without_processes_the_threads_examine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = sorted(map(str, write_image_folder(tmp_path / "set", {"a": 3}).rglob("*.png")))
    chunk = Chunk(rows=range(3), images=images, side=SIDE)
    with Examiners() as workers:
        expected, _ = workers.examine(chunk)
    for nothing in ("/no/such/python", "/bin/false"):
        monkeypatch.setattr(sys, "executable", nothing)
        with Examiners() as workers:
            records, faults = workers.examine(chunk)
        assert records.tobytes() == expected.tobytes()
        assert not faults


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_workers_end_when_who_asked_is_killed(tmp_path: Path) -> None:
    images = sorted(map(str, write_image_folder(tmp_path / "set", {"a": 2}).rglob("*.png")))
    script = (
        "import sys, time\n"
        "from everyclass.images.examine import Chunk\n"
        "from everyclass.images.examiners import Examiners\n"
        "workers = Examiners()\n"
        f"workers.examine(Chunk(rows=[0, 1], images={images!r}, side=8))\n"
        "print(workers._started[0].pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    asking = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert asking.stdout is not None
    worker = int(asking.stdout.readline())
    asking.kill()
    asking.wait()
    asking.stdout.close()
    for _ in range(200):
        if not _alive(worker):
            return
        time.sleep(0.05)
    pytest.fail("the worker outlives the process that started it")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # Ended, and not yet taken note of by whoever it was left to.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_what_is_wrong_with_all_images_is_one_refusal() -> None:
    chunk = Chunk(rows=range(2), images=["nosuch://a.png", "nosuch://b.png"], side=SIDE)
    with Examiners() as workers:
        for _ in range(2):  # and the worker goes on
            with pytest.raises(InputError, match=r"nosuch://a\.png cannot be opened: Protocol"):
                workers.examine(chunk)
        assert len(workers._started) == 1


def test_archives_and_parquet_are_read_by_processes_too(
    table: ImageTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [Path(image).read_bytes() for image in table.images]
    labels = table.labels().tolist()
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"image": contents, "label": labels}), path, row_group_size=7)
    monkeypatch.setattr(audit_module, "_WORTH_PROCESSES", 1)
    seen = [
        examine_images(one, side=SIDE, threads=2).contents(len(one))
        for one in (table, read_table(path))
    ]
    assert np.array_equal(*seen)
