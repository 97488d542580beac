"""The page in a real browser: an image is chosen, dropped or refused; keyboard, phone, colours."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from small_run import CLASSES, answer_of, serving, write_small_run

from everyclass.commands.serve import PACKAGES

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("EVERYCLASS_CHROMIUM") or next(
    (found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None
)
pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)"
    ),
    pytest.mark.skipif(
        any(importlib.util.find_spec(one) is None for one in PACKAGES),
        reason="the extra serve is not installed",
    ),
]
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    run = write_small_run(tmp_path_factory.mktemp("run") / "run")
    with serving(run) as started:
        yield started.address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        # A sandbox needs rights that a container does not give; the page is our own.
        started = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Opened:
    """A page that is open, and what went wrong in it."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(120_000)
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda one: self.asked.append(one.url))
        self.page.on("pageerror", lambda one: self.errors.append(str(one)))
        self.page.on(
            "console",
            # Chromium tells each answer that is an error; ours are expected.
            lambda one: None if "status of 4" in one.text else self.errors.append(one.text),
        )
        self.page.goto(address)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def overflow(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def told(self) -> str:
        """The line of state, once it says something final."""
        status = self.page.locator("#status")
        for _ in range(600):  # the page allows no script to be made of text, as waiting for one is
            words = str(status.inner_text())
            if words and not words.startswith("C"):
                return words
            self.page.wait_for_timeout(100)
        raise AssertionError(f"The line of state says {words!r} for a minute.")


def picture(name: str, form: str = "PNG") -> dict[str, Any]:
    stored = io.BytesIO()
    Image.linear_gradient("L").resize((60, 40)).convert("RGB").save(stored, form)
    return {"name": name, "mimeType": f"image/{form.lower()}", "buffer": stored.getvalue()}


@pytest.mark.parametrize("size", [DESKTOP, PHONE, {"width": 320, "height": 640}])
def test_an_image_is_answered_and_nothing_else_is_asked(
    browser: Any, address: str, size: dict[str, int]
) -> None:
    sent = picture("leaf <i>.png")
    found = answer_of(address, sent["buffer"])
    with Opened(browser, address, viewport=size) as opened:
        page = opened.page
        assert page.locator("#answer").is_hidden()
        page.locator("#file").set_input_files(sent)
        assert opened.told().startswith(f"leaf <i>.png: {found['prediction_balanced']}, ")
        assert page.locator("#answer-title").inner_text() == found["prediction_balanced"]
        assert page.locator("#set li").all_inner_texts() == found["set"]
        names = page.locator("#bars li span:first-child").all_inner_texts()
        assert names == sorted(CLASSES, key=lambda name: -found["probabilities"][name])
        record = found["record"]
        words = page.locator("#record").inner_text()
        assert f"Of {record['images']} images of '{record['class']}'" in words
        assert f"{100 * record['recall_ci95'][0]:.0f} to" in words
        image = page.locator("#picture")
        assert image.get_attribute("alt") == "The image that was classified: leaf <i>.png"
        assert page.evaluate("document.getElementById('picture').decode().then(() => 1)") == 1
        assert page.locator("tr.given").get_attribute("data-class") == record["class"]
        assert opened.overflow() <= 0
        assert opened.errors == []
        elsewhere = [one for one in opened.asked if not one.startswith((address, "blob:", "data:"))]
        assert elsewhere == []
        assert [one for one in opened.asked if one.endswith("/predict")] == [f"{address}/predict"]


def test_a_dropped_image_is_answered_and_a_broken_one_refused(browser: Any, address: str) -> None:
    dropping = """([bytes, name]) => {
        const held = new DataTransfer();
        held.items.add(new File([new Uint8Array(bytes)], name));
        for (const kind of ["dragenter", "dragover", "drop"]) {
            document.getElementById("drop").dispatchEvent(
                new DragEvent(kind, {dataTransfer: held, bubbles: true, cancelable: true}));
        }
    }"""
    with Opened(browser, address, viewport=DESKTOP) as opened:
        page = opened.page
        page.evaluate(dropping, [list(picture("a.bmp", "BMP")["buffer"]), "a.bmp"])
        assert opened.told().startswith("a.bmp: ")
        assert page.locator("#answer").is_visible()
        page.evaluate("document.getElementById('status').textContent = ''")
        page.evaluate(dropping, [list(b"<html>no image"), "page.png"])
        assert "Not an image: a web page" in opened.told()
        assert page.locator("#status").get_attribute("class") == "bad"
        assert page.locator("#answer").is_hidden()
        assert opened.errors == []


def test_it_is_used_by_keyboard(browser: Any, address: str) -> None:
    with Opened(browser, address, viewport=DESKTOP) as opened:
        page = opened.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        reached = []
        for _ in range(7):  # one more would leave the page
            page.keyboard.press("Tab")
            reached.append(
                page.evaluate("document.activeElement.id || document.activeElement.tagName")
            )
        assert reached[:2] == ["theme", "file"]
        assert reached[-3:] == ["A", "A", "A"]
        page.locator("#file").focus()
        outline = page.evaluate("getComputedStyle(document.getElementById('drop')).outlineStyle")
        assert outline == "solid"
        # What opens the dialog is a click; the dialog itself is the browser's.
        page.evaluate(
            "void (document.getElementById('file').onclick = event => {"
            " event.preventDefault(); window.opened = (window.opened || 0) + 1; })"
        )
        page.keyboard.press("Enter")
        page.wait_for_timeout(200)
        assert page.evaluate("window.opened") == 1
        page.locator("#file").set_input_files(picture("b.png"))
        opened.told()
        assert page.evaluate("document.activeElement.id") == "answer"


def test_who_cannot_see_is_told_and_colours_switch(browser: Any, address: str) -> None:
    from everyclass.report.palette import DARK, LIGHT

    def ground(page: Any) -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    def rgb(colour: str) -> str:
        return f"rgb({', '.join(str(int(colour[k : k + 2], 16)) for k in (1, 3, 5))})"

    with Opened(browser, address, viewport=PHONE, color_scheme="dark") as opened:
        page = opened.page
        assert ground(page) == rgb(DARK["bg"])
        page.get_by_role("button", name="Switch to light colours").click()
        assert ground(page) == rgb(LIGHT["bg"])
        assert page.locator("#status").get_attribute("aria-live") == "polite"
        strips = page.locator("svg.strip").all()
        assert len(strips) == len(CLASSES)
        assert all("95 % interval" in str(one.get_attribute("aria-label")) for one in strips)
        low = page.evaluate(
            "Math.min(...[...document.querySelectorAll('button, .drop, main a')]"
            ".map(one => one.getBoundingClientRect().height))"
        )
        assert low >= 24  # WCAG 2.2, 2.5.8


def test_without_scripts_it_says_how_to_ask(browser: Any, address: str) -> None:
    with Opened(browser, address, viewport=PHONE, java_script_enabled=False) as opened:
        assert "curl --data-binary" in opened.page.locator("noscript").inner_text()
        assert opened.page.locator("#classes table").is_visible()
