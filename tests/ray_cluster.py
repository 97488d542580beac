"""A Ray cluster of two processor cores for tests, and a way to end its processes at a moment."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PATIENCE_SECONDS = 600  # of a test on a busy machine; what hangs fails it

HOLDER = """
import sys, ray
ray.init(address="local", num_cpus=2, object_store_memory=100 << 20, include_dashboard=False,
         _temp_dir=sys.argv[1], log_to_driver=False)
print("at", ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
ray.shutdown()
"""


def with_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clusters of this process, whose ports are open to the network, ask for a token, which Ray
    would keep in the home folder by itself. Before Ray is imported."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # As all of the tests: Ray's workers are nicer by 15 than what starts them, and starve.
    monkeypatch.setenv("RAY_worker_niceness", "0")


@contextmanager
def two_cores() -> Iterator[str]:
    """The address of a cluster on this machine, while the block lasts; see `with_a_token`."""
    folder = tempfile.mkdtemp(prefix="ray-")  # sockets have short paths
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        line = next((one for one in holder.stdout if one.startswith("at ")), "")
        assert line, "no cluster was started"
        yield line.split()[1]
    finally:
        holder.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            holder.wait(60)
        holder.kill()
        holder.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


def workers_of_ray(word: str) -> list[int]:
    """Processes in whose title Ray says that they do this."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            title = path.read_bytes()
            if title.startswith(b"ray::") and word.encode() in title:
                found.append(int(path.parent.name))
    return found


class Gate:
    """An image that can be read only once its first reader has been killed.

    A named pipe stands in its place: who opens it waits, and is found by the file that it has open.

    Attributes:
        killed: processes of Ray that were.
    """

    def __init__(self, image: Path) -> None:
        self._image, self._kept = image, image.with_suffix(".kept")
        self.killed: list[int] = []

    def shut(self) -> None:
        """Put the pipe in its place, and wait for its reader in a thread."""
        os.rename(self._image, self._kept)
        os.mkfifo(self._image)
        threading.Thread(target=self._kill_first_reader, daemon=True).start()

    def _kill_first_reader(self) -> None:
        limit, pipe = time.monotonic() + PATIENCE_SECONDS, None
        while pipe is None and time.monotonic() < limit:
            try:
                pipe = os.open(self._image, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads yet
                time.sleep(0.02)
        for pid in _readers(self._image):
            worker = pid if pid in workers_of_ray("") else _parent(pid)
            os.kill(worker, signal.SIGKILL)
            self.killed.append(worker)
        os.replace(self._kept, self._image)
        if pipe is not None:
            os.close(pipe)


def _readers(file: Path) -> list[int]:
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            pid = int(link.parts[2])
            if os.readlink(link) == str(file) and pid != os.getpid():
                found.append(pid)
    return found


def _parent(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1])
