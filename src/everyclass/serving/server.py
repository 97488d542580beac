"""A server from its start to its end: a socket, an application, a signal to stop.

Needs the extra `serve`. Comes in: a run and what was asked for. Goes out: what was served. On
SIGTERM and Ctrl-C no new connection is taken, and requests under way are answered.
"""

from __future__ import annotations

import math
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from everyclass.errors import InputError
from everyclass.serving.access import access_for
from everyclass.serving.answers import Served, open_run
from everyclass.serving.app import make_app
from everyclass.serving.limits import Limits
from everyclass.serving.meters import Meters
from everyclass.serving.page import make_page
from everyclass.stats.drift import DriftTest, expected_shares

MOST_CONNECTIONS = 1_000
IDLE_SECONDS = 5
"""After which a connection that asks nothing more is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A server that listens.

    Args:
        address: as a browser takes it.
        token: whether one is needed.
        stop: ends it as a signal does; may be called by any thread.
    """

    address: str
    token: bool
    served: Served
    stop: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A server that has ended.

    Args:
        told: JSON-ready: requests by how they ended, images a pass, drift.
        interrupted: by Ctrl-C.
    """

    told: dict[str, Any]
    interrupted: bool


def serve(
    run_path: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: Path | None = None,
    prior: Mapping[str, float] | None = None,
    coverage: float | None = None,
    limits: Limits | None = None,
    on_start: Callable[[Started], None] = lambda started: None,
) -> Ended:
    """Serve a run until a signal ends it.

    Args:
        port: 0 for one that is free.
        token_file: see `access.access_for`.
        prior: deployment frequencies by class name.
        coverage: of prediction sets; 0.9 when left out, where the run has scores for them.
        on_start: called when the server listens.
    Raises:
        InputError: a host without a token that others reach, an address that is taken, no finished
            run, a prior or coverage that does not fit.
    """
    limits = Limits() if limits is None else limits
    access = access_for(host, token_file)
    with _listening(host, port) as bound:
        served = open_run(run_path, prior=prior, coverage=coverage)
        meters = meters_of(served)
        app = make_app(served, limits, access, meters, make_page(served, limits))
        config = uvicorn.Config(
            app,
            lifespan="on",
            ws="none",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=math.ceil(limits.max_seconds) + 1,
            limit_concurrency=max(MOST_CONNECTIONS, 2 * limits.max_waiting),
        )
        server = _Server(config)
        name = f"[{host}]" if ":" in host else host
        started = Started(
            address=f"http://{name}:{bound.getsockname()[1]}",
            token=access.token is not None,
            served=served,
            stop=lambda: setattr(server, "should_exit", True),
        )
        server.on_start = lambda: on_start(started)
        interrupted = _run(server, bound)
    return Ended(told=meters.to_dict(), interrupted=interrupted)


def _run(server: uvicorn.Server, bound: socket.socket) -> bool:
    """Serve until told to stop; whether that was Ctrl-C."""
    in_main = threading.current_thread() is threading.main_thread()
    # uvicorn raises the signal again once all is answered. To have been told to stop is no failure,
    # so that SIGTERM must not end the process then.
    before = signal.signal(signal.SIGTERM, lambda number, frame: None) if in_main else None
    try:
        server.run(sockets=[bound])
    except KeyboardInterrupt:
        return True
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)
    return False


def meters_of(served: Served) -> Meters:
    """The counts of a server, with the test against the shares that its classes should have."""
    evaluation = served.evaluation
    expected = expected_shares(evaluation.confusion, served.assumed_prior, classes=served.classes)
    return Meters(DriftTest(expected), watched=evaluation.decision)


class _Server(uvicorn.Server):
    on_start: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.on_start()


def _listening(host: str, port: int) -> socket.socket:
    """A socket bound to the address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--host {host} --port {port} is no address of this machine ({error}).",
            remedy="Leave --host away, or name an address that this machine has.",
        ) from None
    try:
        if hasattr(socket, "SO_REUSEADDR"):  # a server that has just ended leaves its port waiting
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise InputError(
            f"{host}:{port} cannot be listened on: {error.strerror}.",
            remedy="Choose another --port; 0 takes one that is free.",
        ) from None
    return bound
