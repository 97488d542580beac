"""The page on which an image is dropped: one file that loads nothing from elsewhere.

Comes in: a served model, its limits. Goes out: HTML, and the headers that hold it to itself: it may
run its own two scripts, show the picture that was chosen, and ask this server; nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from everyclass.report.page import TEMPLATES as REPORT
from everyclass.report.palette import DARK, LIGHT, properties
from everyclass.report.strips import recall_strip
from everyclass.serving.answers import Served
from everyclass.serving.limits import Limits

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page and its headers."""

    html: str
    headers: dict[str, str] = field(default_factory=dict)


def make_page(served: Served, limits: Limits) -> Page:
    """The page of a model. Class names are data: templates escape them."""
    environment = Environment(
        loader=FileSystemLoader([TEMPLATES, REPORT]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts = [_text(REPORT / "page.js"), _text(TEMPLATES / "drop.js")]
    evaluation, thresholds = served.evaluation, served.thresholds
    html = environment.get_template("drop.html").render(
        evaluation=evaluation,
        rows=[
            (one, recall_strip(one.recall, one.recall_ci95, name=one.name))
            for one in served.records
        ],
        promise=None if thresholds is None else thresholds.sentence(),
        coverage=None if thresholds is None else thresholds.coverage,
        prior=None if served.prior is None else list(zip(served.classes, served.prior)),
        limits=limits,
        version=version("everyclass"),
        light=Markup(properties(LIGHT)),
        dark=Markup(properties(DARK)),
        style=Markup(_text(REPORT / "page.css") + _text(TEMPLATES / "drop.css")),
        scripts=[Markup(one) for one in scripts],
    )
    hashes = " ".join(f"'sha256-{_digest(one)}'" for one in scripts)
    policy = (
        f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {hashes}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Page(
        html=html,
        headers={"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"},
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
