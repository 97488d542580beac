"""`everyclass doctor`: what this installation and this machine can do, looked at in one go.

Comes in: whether to train. Goes out: `Health`. Nothing is written outside a temporary folder, which
is removed. A look that fails is an item with its reason, so that a broken part hides no other.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from everyclass.workflows.doctor_machine import (
    accelerator_item,
    cache_item,
    here_item,
    networks_item,
    processor_item,
    shared_memory_item,
    temporary_item,
)
from everyclass.workflows.doctor_packages import (
    everyclass_item,
    extras_item,
    installed_versions,
    opencv_item,
    packages_item,
    python_item,
)
from everyclass.workflows.doctor_trial import (
    REINSTALL,
    collapse_item,
    decoder_item,
    healthy_item,
    small_images,
)
from everyclass.workflows.doctor_values import Health, Item, looked_at

TORCH = "Reinstall torch and torchvision together (pytorch.org, Get Started)."
SYSTEM = "Run it again; report it with the output of --json if it stays."


def examine(*, quick: bool = False, on_item: Callable[[Item], None] = lambda item: None) -> Health:
    """Look at everything.

    Args:
        quick: leave the two small trainings out.
        on_item: told each item when it is there.
    """
    began = time.monotonic()
    items: list[Item] = []
    for item in _items(quick):
        items.append(item)
        on_item(item)
    return Health(items=tuple(items), seconds=time.monotonic() - began)


def _items(quick: bool) -> Iterator[Item]:
    installed = installed_versions()
    yield everyclass_item(installed)
    yield looked_at("Python", python_item, remedy=SYSTEM)
    yield looked_at("packages", lambda: packages_item(installed), remedy=SYSTEM)
    yield opencv_item(installed)
    yield looked_at("extras", lambda: extras_item(installed), remedy=SYSTEM)
    yield looked_at("processor", processor_item, remedy=TORCH)
    yield looked_at("accelerators", accelerator_item, remedy=TORCH)
    yield looked_at("networks", networks_item, remedy=TORCH)
    yield looked_at("shared memory", shared_memory_item, remedy=SYSTEM)
    yield looked_at("cache", cache_item, remedy="Set EVERYCLASS_CACHE to a folder of yours.")
    yield looked_at("this folder", here_item, remedy="Change to a folder that exists.")
    try:
        with tempfile.TemporaryDirectory(prefix="everyclass-doctor-") as name:
            yield from _written(Path(name), quick)
    except OSError as error:
        yield Item(
            name="temporary",
            state="problem",
            fact=f"no temporary folder can be written or removed: {error}",
            remedy="Set TMPDIR to a folder that you may write to, with room.",
        )


def _written(folder: Path, quick: bool) -> Iterator[Item]:
    """What needs a folder to write to."""
    yield looked_at(
        "temporary",
        lambda: temporary_item(folder),
        remedy="Set TMPDIR to a folder that you may write to, with room.",
    )
    yield looked_at("decoder", lambda: decoder_item(folder), remedy=f"{REINSTALL}.")
    if quick:
        return
    images = cache(lambda: small_images(folder))
    yield looked_at("forced collapse", lambda: collapse_item(images()), remedy=TORCH)
    yield looked_at("healthy training", lambda: healthy_item(images()), remedy=TORCH)
