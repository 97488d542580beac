"""Being asked to stop: by Ctrl-C or SIGTERM, or by whoever started this process.

Comes in: signals. Goes out: a question that a loop asks between two steps. Never torch.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Stop = Callable[[], bool]
"""Whether a stop has been asked for."""


@contextmanager
def stop_signals(also: Stop | None = None) -> Iterator[Stop]:
    """Ctrl-C and SIGTERM ask for a stop between two steps; a second Ctrl-C stops at once.

    Args:
        also: another one who may ask for it; alone where signals do not come to this thread.
    """
    asked = False

    def ask(signum: int, _: object) -> None:
        nonlocal asked
        if asked and signum == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    def stop() -> bool:
        return asked or (also is not None and also())

    if threading.current_thread() is not threading.main_thread():
        yield stop  # Python lets only the main thread set handlers
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
