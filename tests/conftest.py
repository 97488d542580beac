"""Fixtures that several test folders use: small real image files, made on the spot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from image_folders import write_image_folder


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, 90 / 40 / 18 images of 24 px: ratio 5."""
    folder = tmp_path_factory.mktemp("stripes")
    return write_image_folder(folder, {"ash": 90, "birch": 40, "cedar": 18})


@pytest.fixture(scope="session")
def real_sets() -> Path:
    """The folder of real image sets named by EVERYCLASS_DATA; skips without it."""
    name = os.environ.get("EVERYCLASS_DATA", "")
    if not name or not Path(name).is_dir():
        pytest.skip("EVERYCLASS_DATA names no folder of real image sets")
    return Path(name)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the user's caches; commands that tests start inherit the place."""
    os.environ["EVERYCLASS_CACHE"] = str(tmp_path_factory.mktemp("cache"))
