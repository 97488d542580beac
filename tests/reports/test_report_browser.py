"""The page in a real browser: Debian's chromium, driven by Playwright. Offline; no error on the
console; no overflow on a phone; colours switch; cells open their images, without scripts too."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_zoo import NAMES, add_repair

from everyclass.report.palette import DARK, LIGHT
from everyclass.report.write import write_report

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("EVERYCLASS_CHROMIUM") or next(
    (found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)"
)
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        # A sandbox needs rights that a container does not give; the page is our own.
        started = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Opened:
    """A page that is open, and what went wrong in it."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda one: self.requests.append(one.url))
        self.page.on("console", lambda one: self.errors.append(one.text))
        self.page.on("pageerror", lambda one: self.errors.append(str(one)))
        self.url = path.resolve().as_uri()
        self.page.goto(self.url)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def ground(self) -> str:
        return str(self.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    def overflow(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))


@pytest.fixture
def page_path(run: Path) -> Path:
    add_repair(run, NAMES)
    return write_report(run).path


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[k : k + 2], 16)) for k in (1, 3, 5))})"


@pytest.mark.parametrize("kind", ["page_path", "script"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE, {"width": 320, "height": 640}])
def test_nothing_is_requested_nothing_complains_nothing_overflows(
    browser: Any, request: pytest.FixtureRequest, kind: str, size: dict[str, int]
) -> None:
    path: Path = request.getfixturevalue(kind)
    path = write_report(path).path if path.is_dir() else path
    with Opened(browser, path, viewport=size, offline=True) as opened:
        for place in opened.page.locator("details").all():
            place.evaluate("one => one.open = true")
        assert [one for one in opened.requests if not one.startswith("data:")] == [opened.url]
        assert opened.errors == []
        assert opened.overflow() <= 0


def test_every_picture_is_shown(browser: Any, page_path: Path) -> None:
    with Opened(browser, page_path, viewport=DESKTOP) as opened:
        pictures = opened.page.evaluate(
            "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
        )
        assert pictures
        assert min(pictures) > 0


def test_colours_follow_the_system_and_the_button_and_are_kept(
    browser: Any, page_path: Path
) -> None:
    with Opened(browser, page_path, viewport=DESKTOP, color_scheme="dark") as opened:
        assert opened.ground() == rgb(DARK["bg"])
        button = opened.page.get_by_role("button", name="Switch to light colours")
        button.click()
        assert opened.ground() == rgb(LIGHT["bg"])
        opened.page.reload()
        assert opened.ground() == rgb(LIGHT["bg"])
        opened.page.get_by_role("button", name="Switch to dark colours").click()
        assert opened.ground() == rgb(DARK["bg"])


@pytest.mark.parametrize("scripts", [True, False])
def test_a_cell_opens_its_images_by_keyboard(browser: Any, page_path: Path, scripts: bool) -> None:
    with Opened(browser, page_path, viewport=DESKTOP, java_script_enabled=scripts) as opened:
        page = opened.page
        assert page.locator(".cell:visible").count() == 0
        link = page.locator(".matrix td.wrong a").first
        link.focus()
        page.keyboard.press("Enter")
        shown = page.locator(".cell:visible")
        assert shown.count() == 1
        assert shown.locator("img").count() >= 1
        assert " given " in shown.locator("h3").inner_text()
        if scripts:
            page.keyboard.press("Escape")
            page.wait_for_function("location.hash === '#confusion'")
            assert page.locator(".cell:visible").count() == 0


def test_without_scripts_everything_is_there_but_the_button(browser: Any, page_path: Path) -> None:
    with Opened(
        browser, page_path, viewport=PHONE, java_script_enabled=False, color_scheme="dark"
    ) as opened:
        page = opened.page
        assert opened.ground() == rgb(DARK["bg"])
        assert page.locator("#theme").is_hidden()
        page.locator("#recipe summary").click()
        assert page.locator("#recipe details table").is_visible()


def test_the_first_tab_skips_to_the_content(browser: Any, page_path: Path) -> None:
    with Opened(browser, page_path, viewport=DESKTOP) as opened:
        opened.page.keyboard.press("Tab")
        assert opened.page.evaluate("document.activeElement.textContent") == "Skip to the content"
        opened.page.keyboard.press("Enter")
        assert opened.page.evaluate("document.activeElement.id") == "main"


def test_what_is_pressed_is_large_enough_for_a_thumb(browser: Any, page_path: Path) -> None:
    # WCAG 2.2, 2.5.8: 24 px.
    with Opened(browser, page_path, viewport=PHONE) as opened:
        for place in opened.page.locator(".matrix a, button:visible").all():
            box = place.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) >= 24
