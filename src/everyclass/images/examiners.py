"""Processes that examine images for an audit: where threads would wait for one another.

Comes in: rows and their images. Goes out: records and faults, the same as in this process. Decoders
work outside Python's lock, but what is around them does not, so that threads gain nothing from a
third core on; a process costs half a second of start and 100 MB. A worker is a fresh interpreter
that runs this module (no fork of a process with threads, no import of the caller's script) and ends
with its standard input, however this process ends. A file that kills its decoder costs a worker,
and is told as a fault of that file.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from typing import IO, Any

import numpy as np

from everyclass.errors import InputError
from everyclass.images.examine import Chunk, Examined, ImageFault, examine_chunk
from everyclass.images.records import RECORD, Records
from everyclass.images.store_files import StoreFolder

_COMMAND = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from everyclass.images.examiners import serve; serve()"
)
_SIZES = struct.Struct("<QQ")  # of the JSON and of the bytes behind it


class Examiners:
    """As many workers as threads ask for one. Close it, or use it in a `with` statement.

    Where no process can be started (a sandbox, no memory left), the threads examine by themselves.
    """

    def __init__(self, store: StoreFolder | None = None) -> None:
        """Workers keep resized images in `store`, where there is one."""
        self._store = store
        self._own = threading.local()
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Examiners:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        for worker in self._started:
            worker.kill()
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                if pipe is not None:
                    with suppress(OSError):  # what it did not read before it ended
                        pipe.close()

    def examine(self, chunk: Chunk) -> Examined:
        """Examine a chunk by the worker of the calling thread.

        A worker that ends on the way is replaced, and the images are given to the next ones one by
        one: of those that end theirs as well, that is the fault.
        """
        try:
            return self._asked(chunk)
        except _WorkerEnded:
            return _together(self._one(part) for part in chunk.each())

    def _one(self, part: Chunk) -> Examined:
        try:
            return self._asked(part)
        except _WorkerEnded as error:
            reason = f"the process that read it ended ({error})"
            return np.zeros(0, dtype=RECORD), [ImageFault(row=part.rows[0], reason=reason)]

    def _asked(self, chunk: Chunk) -> Examined:
        worker = self._worker()
        if worker is None:
            return examine_chunk(chunk, None if self._store is None else self._store.open())
        told, content = _answer(worker, _fields(chunk))
        if content is None:
            self._own.worker = None
            worker.kill()
            raise _WorkerEnded(_how_it_ended(worker.wait()))
        if isinstance(told, dict):  # not this image alone: a package is missing
            raise InputError(**told)
        records: Records = np.frombuffer(content, dtype=RECORD)
        return records, [ImageFault(row=row, reason=reason) for row, reason in told]

    def _worker(self) -> subprocess.Popen[bytes] | None:
        """This thread's; None where none can be started."""
        worker: subprocess.Popen[bytes] | None = getattr(self._own, "worker", None)
        if worker is None:
            try:
                worker = subprocess.Popen(
                    [sys.executable, "-c", _COMMAND, json.dumps(sys.path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                )
            except OSError:
                return None
            self._started.append(worker)
            store = None if self._store is None else asdict(self._store)
            _, ready = _answer(worker, {"store": store})
            if ready is None:
                return None
            self._own.worker = worker
        return worker


def _answer(worker: subprocess.Popen[bytes], told: object) -> tuple[Any, bytes | None]:
    """What a worker answers; None in the place of its bytes when it ended instead."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        _send(worker.stdin, told)
        return _receive(worker.stdout)
    except (OSError, EOFError):
        return None, None


class _WorkerEnded(Exception):
    """A worker ended before it answered; says how."""


def _how_it_ended(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _together(found: Iterable[Examined]) -> Examined:
    parts = list(found)
    records: Records = np.concatenate([one for one, _ in parts], dtype=RECORD)
    return records, [fault for _, faults in parts for fault in faults]


def _fields(chunk: Chunk) -> dict[str, Any]:
    return {
        "rows": list(chunk.rows),
        "images": list(chunk.images),
        "side": chunk.side,
        "places": list(chunk.places),
    }


def _send(pipe: IO[bytes], told: object, content: bytes = b"") -> None:
    head = json.dumps(told).encode()
    pipe.write(_SIZES.pack(len(head), len(content)) + head + content)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[Any, bytes]:
    """What was sent. Raises EOFError when the other side has ended."""
    n_head, n_content = _SIZES.unpack(_exactly(pipe, _SIZES.size))
    return json.loads(_exactly(pipe, n_head)), _exactly(pipe, n_content)


def _exactly(pipe: IO[bytes], n: int) -> bytes:
    found = pipe.read(n)
    if len(found) < n:
        raise EOFError
    return found


# -- in the worker ---------------------------------------------------------------------------------


def serve() -> None:
    """Answer chunks on standard input until it ends."""
    # The terminal's Ctrl-C reaches every process of the group; the one that asked decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not answer
    told, _ = _receive(sys.stdin.buffer)
    pixels = None if told["store"] is None else StoreFolder(**told["store"]).open()
    _send(answers, "ready")
    while True:
        try:
            told, _ = _receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            records, faults = examine_chunk(Chunk(**told), pixels)
        except InputError as error:
            _send(answers, {"what": error.what, "where": error.where, "remedy": error.remedy})
            continue
        _send(answers, [(one.row, one.reason) for one in faults], records.tobytes())
