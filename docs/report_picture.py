"""The README's picture of reports: one on a desktop, its confusion matrix with a cell open, and a
repaired training on a phone in the dark.

everyclass train trashnet --out good --epochs 8
everyclass train trashnet --out slow --model tutorial --image-size 40 --epochs 12 \
    --set optimizer=sgd --learning-rate 0.00001
python docs/report_picture.py good slow docs/report.png        # needs Debian's chromium, Playwright
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from everyclass.report.write import write_report

GROUND, GAP = (214, 219, 226), 24
TOP, CELL = {"width": 1180, "height": 570}, {"width": 1180, "height": 1030}
PHONE = {"width": 390, "height": 570 + GAP + 1030}


def main(good: Path, repaired: Path, out: Path) -> None:
    """Draw `out` from the folders of two runs."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        pages = [
            write_report(run, Path(folder) / f"{run.name}.html").path for run in (good, repaired)
        ]
        top = shot(browser, pages[0], TOP, "light")
        cell = shot(browser, pages[0], CELL, "light", open_cell=True)
        phone = shot(browser, pages[1], PHONE, "dark", at="diagnosis")
    height = top.height + GAP + cell.height
    whole = Image.new("RGB", (top.width + 3 * GAP + phone.width, height + 2 * GAP), GROUND)
    whole.paste(top, (GAP, GAP))
    whole.paste(cell, (GAP, 2 * GAP + top.height))
    whole.paste(phone, (2 * GAP + top.width, GAP))
    small = whole.resize((whole.width * 5 // 8, whole.height * 5 // 8), Image.Resampling.LANCZOS)
    small.quantize(colors=256, kmeans=8).save(out, optimize=True)


def shot(
    browser: Any,
    page: Path,
    size: dict[str, int],
    colours: str,
    *,
    open_cell: bool = False,
    at: str = "",
) -> Image.Image:
    """What one sees of a page."""
    context = browser.new_context(viewport=size, color_scheme=colours, reduced_motion="reduce")
    view = context.new_page()
    view.goto(page.resolve().as_uri() + (f"#{at}" if at else ""))
    if open_cell:
        view.locator(".pairs a").first.click()
        view.locator("#confusion").evaluate("one => one.scrollIntoView()")
    view.wait_for_timeout(300)
    picture = Image.open(io.BytesIO(view.screenshot())).convert("RGB")
    context.close()
    return picture


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
