"""The page as a whole: it parses, names and links what it has, escapes, and loads nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from html_check import Page
from report_zoo import HOSTILE, NAMES, write_images, write_run

from everyclass.report.page import make_report
from everyclass.report.write import write_report

MOST_BYTES = 5_000_000


@pytest.fixture(params=["run", "repaired", "script"])
def content(request: pytest.FixtureRequest) -> str:
    return make_report(request.getfixturevalue(request.param)).html


def test_the_page_nests_and_its_ids_are_its_own(content: str) -> None:
    page = Page(content)
    assert page.faults == []
    ids = page.values("id")
    assert len(ids) == len(set(ids))


def test_links_and_labels_lead_to_something_that_is_there(content: str) -> None:
    page = Page(content)
    ids = set(page.values("id"))
    links = page.values("href")
    assert links
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    assert set(page.values("aria-labelledby")) <= ids


def test_headings_do_not_skip_a_level(content: str) -> None:
    levels = [level for level, _ in Page(content).headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels


def test_pictures_tables_and_drawings_are_named(content: str) -> None:
    page = Page(content)
    assert ("html", {"lang": "en"}) in page.tags
    for tag, attributes in page.tags:
        if tag == "img":
            assert attributes["alt"], attributes
        if tag == "th":
            assert attributes.get("scope") in ("col", "row"), attributes
        if tag == "svg":
            assert attributes["role"] == "img", attributes
            assert attributes["aria-label"], attributes
        if attributes.get("class") == "scroll":  # what scrolls must be reached by the keyboard
            assert attributes["tabindex"] == "0", attributes
            assert attributes["aria-label"], attributes


def test_the_keyboard_can_skip_to_the_content(content: str) -> None:
    page = Page(content)
    first = next(attributes for tag, attributes in page.tags if tag == "a")
    assert first == {"class": "skip", "href": "#main"}


def test_nothing_is_loaded_from_anywhere(content: str) -> None:
    page = Page(content)
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "object", "embed", "base", "form"}
    for attribute in ("src", "srcset", "poster", "data", "action", "xlink:href", "background"):
        assert all(value.startswith("data:image/jpeg;base64,") for value in page.values(attribute))
    assert not re.search(r"url\(|@import|https?:|//[a-z]", re.sub(r"data:[^\"]*", "", content))
    policy = next(
        attributes["content"]
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy


def test_the_policy_lets_the_one_script_run_and_no_other(content: str) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", content, flags=re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in content


def test_no_word_of_the_folder_is_taken_for_markup(content: str) -> None:
    page = Page(content)
    assert "<b onclick" not in content
    assert "{{7*7}}" in page.text  # as it is: neither escaped twice nor computed
    assert HOSTILE in page.text
    assert not [attributes for _, attributes in page.tags if "onclick" in attributes]
    assert html.escape(HOSTILE, quote=False)[:12] in content


@pytest.mark.parametrize(
    "file", ["findings.json", "diagnosis.json", "fix.json"], ids=lambda name: str(name)
)
def test_every_text_of_a_script_folder_is_escaped(script: Path, file: str) -> None:
    path = script / file
    known = {"collapsed", "healthy", "starved", "alarm", "passed", "issue", "not-applicable"}
    keep = known | {"softmax-before-loss", "dead-units", "trained", "held-out", "learned"}

    def poisoned(value: object) -> object:
        if isinstance(value, str):
            return value if value in keep else f"{value}<img src=x>"
        if isinstance(value, list):
            return [poisoned(one) for one in value]
        return {k: poisoned(v) for k, v in value.items()} if isinstance(value, dict) else value

    path.write_text(json.dumps(poisoned(json.loads(path.read_text()))))
    report = make_report(script)
    page = Page(report.html)
    assert "<img src=x>" in page.text
    assert not [one for tag, one in page.tags if tag == "img"]
    assert page.faults == []


def test_the_file_stays_under_its_limit_and_says_how_much_it_shows(tmp_path: Path) -> None:
    # Noise: the worst that JPEG can be given. 24 classes, 1,200 test images, nearly all wrong.
    names = [f"class {k:02d}" for k in range(24)]
    images = write_images(tmp_path / "images", dict.fromkeys(names, 10), side=112)
    run = write_run(tmp_path / "run", images, mistakes=1100, repeats=30)
    written = write_report(run)
    assert written.n_bytes < MOST_BYTES
    assert written.path.stat().st_size == written.n_bytes
    assert 0 < written.report.embedded < written.report.asked
    told = re.search(r"([\d,]+) of ([\d,]+) mistakes are inside", Page(written.report.html).text)
    assert told is not None
    embedded, of = (int(one.replace(",", "")) for one in told.groups())
    assert embedded < of == 1100
    panels = re.findall(r'<section class="cell".*?</section>', written.report.html, re.DOTALL)
    wrong = [panel for panel in panels if " given " in Page(panel).headings[0][1]]
    assert sum(panel.count("<img ") for panel in wrong) == embedded


def test_many_classes_keep_the_page_in_bounds(tmp_path: Path) -> None:
    names = [f"c{k}" for k in range(70)]
    images = write_images(tmp_path / "images", dict.fromkeys(names, 5))
    report = make_report(write_run(tmp_path / "run", images, mistakes=20))
    page = Page(report.html)
    assert page.faults == []
    assert len(report.html) < MOST_BYTES
    assert "25 classes with the most mistakes about them, of 70" in page.text
    assert "60 classes of the lowest recall, of 70" in page.text


def test_the_same_folder_gives_the_same_page(run: Path) -> None:
    assert make_report(run).html == make_report(run).html


def test_names_are_in_the_page(run: Path) -> None:
    text = Page(make_report(run).html).text
    assert all(name in text for name in NAMES)
