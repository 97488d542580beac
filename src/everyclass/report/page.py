"""One page from a folder: sections in order, templates, style and script in a single file.

Comes in: a folder. Goes out: HTML. Every text from the folder is escaped by the templates; the page
forbids itself to load anything, and to run another script than its own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from everyclass.errors import InputError
from everyclass.report.contents import Contents, read_contents
from everyclass.report.course_sections import (
    checks_section,
    curves_section,
    diagnosis_section,
    fix_section,
    timeline_section,
)
from everyclass.report.data_sections import copies_section, data_section, recipe_section
from everyclass.report.head import head_of, reproduce_section
from everyclass.report.palette import DARK, LIGHT, properties
from everyclass.report.result_sections import (
    classes_section,
    confusion_section,
    mistakes_section,
    slices_section,
    suspects_section,
    trust_section,
)
from everyclass.report.section import Absent, Section
from everyclass.report.thumbnails import Thumbnails

TEMPLATES = Path(__file__).parent / "templates"
Builder = Callable[[Contents, Thumbnails], Section | Absent]

SCRIPT_ORDER: tuple[Builder, ...] = (
    diagnosis_section,
    fix_section,
    timeline_section,
    checks_section,
    reproduce_section,
)
TRAINING_ORDER: tuple[Builder, ...] = (
    classes_section,
    confusion_section,
    mistakes_section,
    suspects_section,
    slices_section,
    trust_section,
    curves_section,
    timeline_section,
    diagnosis_section,
    data_section,
    copies_section,
    recipe_section,
    checks_section,
    reproduce_section,
)
TROUBLE_FIRST: tuple[Builder, ...] = (diagnosis_section, timeline_section, curves_section)
"""Where a training had to be diagnosed, that comes before its figures."""

BUILT_FIRST: tuple[Builder, ...] = (
    data_section,
    copies_section,
    mistakes_section,
    suspects_section,
)
"""They show few pictures, and get them before the confusion matrix takes what is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A page, and what stands in it.

    Attributes:
        html: the whole file.
        sections: their titles.
        absent: what was left out, and why.
        embedded, asked: pictures inside, and those that there were to show.
        missing: (path, reason) of images that could not be shown; `relative_missing` where a path
            among them depends on the folder in which one stands.
    """

    html: str
    sections: tuple[str, ...]
    absent: tuple[Absent, ...]
    embedded: int
    asked: int
    missing: tuple[tuple[str, str], ...]
    relative_missing: bool


def make_report(folder: Path) -> Report:
    """The report of a folder.

    Raises:
        InputError: there is nothing to report on.
    """
    contents = read_contents(folder)
    thumbnails = Thumbnails()
    order = _order(contents)
    first = [builder for builder in BUILT_FIRST if builder in order]
    built: dict[Builder, Section | Absent] = {}
    for builder in (*first, *(one for one in order if one not in first)):
        built[builder] = _built(builder, contents, thumbnails)
    sections = [one for builder in order if isinstance(one := built[builder], Section)]
    absent = tuple(one for builder in order if isinstance(one := built[builder], Absent))
    environment = _environment()
    script = _inner("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template("page.html").render(
        head=head_of(contents),
        contents=contents,
        sections=[
            (one, Markup(environment.get_template(one.template).render(**one.values)))
            for one in sections
        ],
        absent=absent,
        thumbnails=thumbnails,
        version=version("everyclass"),
        light=Markup(properties(LIGHT)),
        dark=Markup(properties(DARK)),
        style=Markup(_inner("page.css")),
        script=Markup(script),
        script_hash=digest,
    )
    return Report(
        html=page,
        sections=tuple(one.title for one in sections),
        absent=absent,
        embedded=thumbnails.shown,
        asked=thumbnails.asked,
        missing=thumbnails.missing,
        relative_missing=thumbnails.relative_missing,
    )


def _order(contents: Contents) -> tuple[Builder, ...]:
    if contents.kind == "script":
        return SCRIPT_ORDER
    if not contents.diagnoses:
        return TRAINING_ORDER
    return (*TROUBLE_FIRST, *(one for one in TRAINING_ORDER if one not in TROUBLE_FIRST))


def _built(builder: Builder, contents: Contents, thumbnails: Thumbnails) -> Section | Absent:
    try:
        return builder(contents, thumbnails)
    except InputError as error:
        # Files that are each whole but do not fit each other cost one section.
        title = builder.__name__.removesuffix("_section").capitalize()
        return Absent(title=title, reason=str(error))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["n"] = lambda value: f"{value:,}"
    environment.filters["f2"] = lambda value: "n/a" if value is None else f"{value:.2f}"
    environment.filters["f3"] = lambda value: "n/a" if value is None else f"{value:.3f}"
    environment.filters["percent"] = lambda value: "" if value is None else f"{value:.0%}"
    environment.filters["ends"] = lambda ends: (
        "" if ends is None else f"{ends[0]:.2f} to {ends[1]:.2f}"
    )
    environment.filters["signed"] = lambda ends: f"{ends[0]:+.2f} to {ends[1]:+.2f}"
    return environment


def _inner(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
