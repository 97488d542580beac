"""One finished run, one that was repaired and one watched script for all tests of reports."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from report_zoo import NAMES, add_repair, write_images, write_run, write_script


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = dict(zip(NAMES, (20, 14, 12)))
    return write_images(tmp_path_factory.mktemp("report") / "images", counts)


@pytest.fixture(scope="session")
def _made_run(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    return write_run(tmp_path_factory.mktemp("report") / "run", images)


@pytest.fixture
def run(_made_run: Path, tmp_path: Path) -> Path:
    """A finished training; the test may change it."""
    return Path(shutil.copytree(_made_run, tmp_path / "run"))


@pytest.fixture
def repaired(run: Path) -> Path:
    """The same, repaired once."""
    add_repair(run, NAMES)
    return run


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """What a watched script left."""
    return write_script(tmp_path / "script")
