"""Rules of what is written for people: its commands, options, names, links and figures exist.

The site is built strictly where the extra `docs` is installed. Its generators are loaded by path:
`docs/generate` is no package.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote, urlsplit

import pytest

import everyclass
from everyclass.findings import CauseId

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TEXTS = (
    ROOT / "README.md",
    ROOT / "README.zh-CN.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.rglob("*.md")),
)
BLOCK = re.compile(r"^( *)```.*?\n(.*?)^\1```", re.S | re.M)
SPAN = re.compile(r"`([^`\n]+)`")
OF_OTHERS = {"--max-restarts", "--nnodes", "--ntasks-per-node", "--signal"}
"""Options of torchrun and srun that pages speak of."""
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def generator(name: str) -> Any:
    """A module of docs/generate."""
    spec = importlib.util.spec_from_file_location(
        f"docs_generate_{name}", DOCS / "generate" / f"{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def commands() -> Any:
    return generator("commands")


def code_of(text: str) -> tuple[list[str], list[str]]:
    """Lines of its code blocks, those continued by a backslash joined; and its code spans."""
    blocks = [match[2].replace("\\\n", " ") for match in BLOCK.finditer(text)]
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return lines, SPAN.findall(BLOCK.sub("", text))


def calls(text: str) -> Iterator[str]:
    """Every call of the command line in a text, without what stands before and behind it."""
    lines, spans = code_of(text)
    for line in (*lines, *spans):
        found = re.match(r"(?:\$ )?(everyclass(?: .*)?)$", line)
        if found:
            yield found[1]


def fault_of(call: str, known: Any) -> str:
    """What is wrong with a call; "" if nothing."""
    words = shlex.split(call.replace("[", " ").replace("]", " "), comments=True)[1:]
    every = known.commands()
    if not words or words[0] in ("--help", "--version", "..."):
        return ""
    name = " ".join(words[:2]) if " ".join(words[:2]) in every else words[0]
    if name not in every:
        return f"no command {name!r}"
    options, left = known.options_of(every[name]), words[len(name.split()) :]
    valued = {
        spelling
        for one in every[name].params
        if one.param_type_name == "option" and not one.is_flag
        for spelling in one.opts
    }
    while left:
        word = left.pop(0)
        if word.startswith("-") and word.split("=")[0] not in options:
            return f"{name} has no option {word}"
        if word in valued and left:
            left.pop(0)
        elif name == "run" and not word.startswith("-"):
            break  # What follows is the script's own.
    return ""


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_options_and_names_exist(path: Path, commands: Any) -> None:
    text = path.read_text("utf-8")
    faults = {call: fault_of(call, commands) for call in calls(text)}
    assert not {call: fault for call, fault in faults.items() if fault}
    every = {one for each in commands.commands().values() for one in commands.options_of(each)}
    lines, spans = code_of(text)
    written = {span.split()[0].split("=")[0] for span in spans if span.startswith("-")}
    assert not {one for one in written if re.match(r"--?[a-z]", one)} - every - OF_OTHERS
    named = {
        name
        for code in (*lines, *spans)
        for name in re.findall(r"\beveryclass(?:\.[A-Za-z_]\w*)+", code)
    }
    assert not {name for name in named if not resolves(name)}


def resolves(name: str) -> bool:
    """Whether a dotted name is a module of ours or a public name in one."""
    parts = name.split(".")
    if parts[-1] in ("py", "md") or len(parts) == 1:
        return True
    if parts[1] in everyclass.__all__:
        return len(parts) == 2 or hasattr(getattr(everyclass, parts[1]), parts[2])
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def test_wrong_calls_are_seen(commands: Any) -> None:
    told = list(calls("`everyclass trian x` and\n```\n$ everyclass train x --epoch 5\n```\n"))
    assert [fault_of(one, commands) for one in sorted(told)] == [
        "train has no option --epoch",
        "no command 'trian'",
    ]
    assert not fault_of("everyclass run --out a train.py --lr 0.1", commands)
    assert fault_of("everyclass run --lr 0.1 train.py", commands)
    assert not resolves("everyclass.capture.lightening")
    assert resolves("everyclass.capture.lightning")


def test_every_cause_is_in_the_catalogue() -> None:
    catalogue = generator("catalogue")
    named = [cause for theme in catalogue.THEMES.values() for cause in theme]
    assert sorted(named) == sorted(get_args(CauseId))
    page = catalogue.page()
    for cause in named:
        entry = page.split(f"\n### {cause}\n")[1].split("\n### ")[0]
        assert "Checks that can accuse it" in entry or "No check can see it" in entry
        assert "A trial can prove it" in entry or "stays a suspicion" in entry or "roved" in entry
    # Known relations, so that reading them from the code is seen to work.
    softmax = page.split("\n### softmax-before-loss\n")[1].split("\n### ")[0]
    assert "`outputs-are-scores`" in softmax
    assert "the softmax (or sigmoid) before the loss undone" in softmax


def test_the_reference_has_every_public_name_once() -> None:
    named = [name for _, _, names in generator("reference").THEMES.values() for name in names]
    assert sorted(named) == sorted(everyclass.__all__)


def test_the_page_of_commands_has_every_option(commands: Any) -> None:
    page = commands.page()
    for name, command in commands.commands().items():
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        told = set(re.findall(r"--[a-z][a-z-]*", section))
        hidden = {o for p in command.params if getattr(p, "hidden", False) for o in p.opts}
        assert {o for o in commands.options_of(command) if o.startswith("--")} - told <= {
            "--help",
            *hidden,
        }


def test_the_chinese_readme_says_nothing_of_its_own() -> None:
    english, chinese = (
        (ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md")
    )
    assert "(README.zh-CN.md)" in english
    assert "(README.md)" in chinese
    assert not set(NUMBER.findall(chinese)) - set(NUMBER.findall(english))
    spaced = " ".join(english.split())
    for call in calls(chinese):
        assert call.split("#")[0].strip() in spaced, call
    # A row of figures is a row of the English table: the same figures in the same order.
    rows = [NUMBER.findall(line) for line in english.splitlines() if line.startswith("|")]
    for line in chinese.splitlines():
        if line.startswith("|") and NUMBER.search(line) and "everyclass" not in line:
            assert NUMBER.findall(line) in rows, line


class Links(HTMLParser):
    """What a page links to, what it loads, and the places in it that can be linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        have = {key: value or "" for key, value in attrs}
        self.ids |= {have[key] for key in ("id", "name") if key in have}
        if tag == "a" and "href" in have:
            self.links.append(have["href"])
        if "src" in have:
            self.loaded.append(have["src"])
        if tag == "link" and have.get("rel") not in ("canonical", "prev", "next"):
            self.loaded.append(have["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(name, reason="needs the extra docs")
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_site_builds_strictly_links_somewhere_and_loads_nothing(site: Path) -> None:
    pages = {}
    for path in site.rglob("*.html"):
        pages[path] = Links()
        pages[path].feed(path.read_text("utf-8"))
    assert len(pages) > 20
    broken = []
    for path, page in pages.items():
        assert not [one for one in page.loaded if urlsplit(one).netloc], path
        for one in (*page.links, *page.loaded):
            link = urlsplit(one)
            if link.scheme or link.netloc or path.name == "404.html":
                continue
            to = (path.parent / unquote(link.path)).resolve() if link.path else path
            to = to / "index.html" if to.is_dir() else to
            fits = to.is_file() and (
                not link.fragment
                or to not in pages
                or unquote(link.fragment) in pages[to].ids
                or link.fragment.startswith("__")
            )
            if not fits:
                broken.append((path.relative_to(site).as_posix(), one))
    assert not broken
    assert not list(site.rglob("*.py"))
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", style.read_text("utf-8")), style


def test_search_works_from_a_folder(site: Path) -> None:
    chromium = os.environ.get("EVERYCLASS_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((site / "guides" / "one-class.html").as_uri())
        page.locator(".md-search__input").click()
        page.locator(".md-search__input").press_sequentially("softmax")
        page.locator(".md-search-result__link").first.wait_for(timeout=60_000)
        found = page.locator(".md-search-result__list").inner_text()
        browser.close()
    assert "softmax-before-loss" in found
    assert not errors
