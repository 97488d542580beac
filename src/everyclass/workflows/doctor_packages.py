"""Are the packages here that everyclass asks for, in versions that it takes, and which extras?

Comes in: the installed packages. Goes out: `Item`s. What is asked for stands in everyclass's own
package metadata, so that there is no second list to keep true. Loads none of the packages.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distributions, metadata, requires

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from everyclass.workflows.doctor_values import Item

TOLD = ("torch", "torchvision", "timm", "pillow", "simplejpeg", "opencv-python-headless", "numpy")
"""Packages whose versions are shown; all versions are in the JSON."""

OPENCV = "opencv-"
INSTALL = "pip install --upgrade everyclass"
DEVELOPMENT = "dev"
"""The extra of people who change everyclass: nobody else misses it."""


def installed_versions() -> dict[str, str]:
    """Version of every installed package, by its normalised name; the first found counts, as for
    an import."""
    found: dict[str, str] = {}
    for one in distributions():
        name = one.metadata["Name"]  # None in a folder that a broken removal left behind
        if name:
            found.setdefault(canonicalize_name(name), one.version)
    return found


def python_item() -> Item:
    """The interpreter, against what everyclass takes."""
    version = platform.python_version()
    figures = {"version": version, "executable": sys.executable}
    fact = f"{version}, {sys.executable}"
    try:
        wanted = metadata("everyclass")["Requires-Python"] or ""
    except PackageNotFoundError:
        wanted = ""
    if SpecifierSet(wanted).contains(version, prereleases=True):
        return Item(name="Python", state="ok", fact=fact, figures=figures)
    return Item(
        name="Python",
        state="problem",
        fact=f"{fact}; everyclass needs {wanted}",
        remedy="Make an environment with a Python that fits, and install everyclass there.",
        figures=figures,
    )


def everyclass_item(installed: Mapping[str, str]) -> Item:
    """Our own version."""
    version = installed.get("everyclass")
    if version is not None:
        return Item(name="everyclass", state="ok", fact=version, figures={"version": version})
    return Item(
        name="everyclass",
        state="problem",
        fact="it runs from a folder and is not installed, so its version is not known",
        remedy="Install it: pip install . in that folder.",
    )


def packages_item(installed: Mapping[str, str]) -> Item:
    """What everyclass asks for, missing or in versions that it does not take."""
    return packages_of(requires("everyclass") or [], installed)


def packages_of(asked: list[str], installed: Mapping[str, str]) -> Item:
    """The item of these requirements.

    Args:
        asked: as package metadata write them ("torch>=2.9,<2.16").
        installed: versions by normalised name.
    """
    wanted = {
        str(canonicalize_name(one.name)): one for one in map(Requirement, asked) if _always(one)
    }
    wrong = [
        f"{name} {installed.get(name, 'is missing')} (needed: {one.specifier or 'any'})"
        for name, one in wanted.items()
        if not _fits(one, installed)
    ]
    figures = {name: installed.get(name) for name in sorted(wanted)}
    if wrong:
        return Item(
            name="packages",
            state="problem",
            fact=", ".join(wrong),
            remedy=f"{INSTALL} puts in what it needs.",
            figures=figures,
        )
    fact = ", ".join(f"{name} {installed[name]}" for name in TOLD if name in installed)
    return Item(name="packages", state="ok", fact=fact, figures=figures)


def opencv_item(installed: Mapping[str, str]) -> Item:
    """More than one package of OpenCV write into the same folder `cv2`."""
    found = {name: version for name, version in installed.items() if name.startswith(OPENCV)}
    told = ", ".join(f"{name} {version}" for name, version in sorted(found.items()))
    if len(found) < 2:
        return Item(name="OpenCV", state="ok", fact=told or "not installed", figures=found)
    return Item(
        name="OpenCV",
        state="note",
        fact=f"{told} are all installed, and write into the same folder: the last one installed "
        "is what runs, and removing one breaks the other",
        remedy=f"pip uninstall {' '.join(sorted(found))}; then pip install opencv-python-headless.",
        figures=found,
    )


def extras_item(installed: Mapping[str, str]) -> Item:
    """Which optional parts can be used, and how to get the others."""
    names = metadata("everyclass").get_all("Provides-Extra") or []
    return extras_of(requires("everyclass") or [], names, installed)


def extras_of(asked: list[str], names: list[str], installed: Mapping[str, str]) -> Item:
    """The item of these requirements and extras; missing extras are no fault."""
    wanted_by: dict[str, list[Requirement]] = {name: [] for name in names if name != DEVELOPMENT}
    for one in map(Requirement, asked):
        for name, wanted in wanted_by.items():
            if _of_extra(one, name):
                wanted.append(one)
    here = {
        name: all(_fits(one, installed) for one in wanted) for name, wanted in wanted_by.items()
    }
    have = [name for name, is_here in here.items() if is_here]
    lack = [name for name, is_here in here.items() if not is_here]
    fact = f"installed: {', '.join(have) or 'none'}"
    if lack:
        fact += f"; not installed: {', '.join(lack)} (for all: pip install "
        fact += f"'everyclass[{','.join(lack)}]')"
    return Item(name="extras", state="ok", fact=fact, figures=here)


def _always(one: Requirement) -> bool:
    """Asked for without an extra, on this system."""
    return one.marker is None or one.marker.evaluate({"extra": ""})


def _of_extra(one: Requirement, name: str) -> bool:
    """Asked for by that extra alone, on this system."""
    return one.marker is not None and not _always(one) and one.marker.evaluate({"extra": name})


def _fits(one: Requirement, installed: Mapping[str, str]) -> bool:
    version = installed.get(canonicalize_name(one.name))
    return version is not None and one.specifier.contains(version, prereleases=True)
