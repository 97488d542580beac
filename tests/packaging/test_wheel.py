"""What is published: the source archive, its wheel, and that wheel in an empty environment.

The environment is fresh but for its dependencies: a `.pth` file shows it those of the development
environment (5 GB that `make demo` installs anew), and the wheel is installed without them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from image_folders import write_image_folder

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def python(
    *arguments: str | Path,
    cwd: Path,
    interpreter: Path | str = sys.executable,
    codes: tuple[int, ...] = (0,),
) -> str:
    """Standard output of a Python that sees no PYTHONPATH."""
    done = subprocess.run(
        [str(interpreter), *map(str, arguments)],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode in codes, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive and the wheel that `build` made of that archive."""
    folder = tmp_path_factory.mktemp("dist")
    python("-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return built / f"everyclass-{VERSION}-py3-none-any.whl"


def files_of(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel: Path) -> None:
    inside = set(files_of(wheel))
    source = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "everyclass").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in inside if ".dist-info/" not in name} == source
    assert {
        "everyclass/py.typed",
        "everyclass/workflows/demo_script.txt",
        "everyclass/report/templates/page.html",
        "everyclass/report/templates/page.css",
        f"everyclass-{VERSION}.dist-info/licenses/LICENSE",
        f"everyclass-{VERSION}.dist-info/entry_points.txt",
    } <= inside


def test_the_source_archive_makes_the_wheel_that_the_tree_makes(
    built: Path, wheel: Path, tmp_path: Path
) -> None:
    python("-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    assert files_of(tmp_path / wheel.name) == files_of(wheel)
    with tarfile.open(built / f"everyclass-{VERSION}.tar.gz") as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {"pyproject.toml", "Makefile", "tests/conftest.py", "docs/tutorial.ipynb"} <= names
    assert not any(".venv" in name or "__pycache__" in name for name in names)


def test_the_wheel_works_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "fresh"
    venv.create(home, with_pip=False, symlinks=True)
    fresh = home / "bin" / "python"
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(python("-c", asked, cwd=tmp_path, interpreter=fresh).strip())
    pip = ("-m", "pip", "--disable-pip-version-check", "--python", fresh)
    python(*pip, "install", "-q", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    where = "import everyclass; print(everyclass.__file__)"
    assert site in Path(python("-c", where, cwd=tmp_path, interpreter=fresh)).parents
    command = home / "bin" / "everyclass"
    assert command.exists()

    def everyclass(*arguments: str | Path, codes: tuple[int, ...] = (0,)) -> str:
        return python(command, *arguments, cwd=tmp_path, interpreter=fresh, codes=codes)

    assert everyclass("--version") == f"everyclass {VERSION}\n"
    assert "doctor" in everyclass("--help")
    # A full disk of the machine that tests is a problem, and none of the wheel's.
    looked = everyclass("doctor", "--quick", codes=(0, 1))
    assert looked.split()[:3] == ["ok", "everyclass", VERSION]
    images = write_image_folder(tmp_path / "images", {"ash": 12, "birch": 8})
    assert "20 images" in everyclass("audit", images)
