"""What MkDocs asks for while it builds the site: pages from the code and from the repository.

Comes in: the configuration and the files under `docs/`. Goes out: more files, a completed list of
pages, and links that fit. Nothing is fetched.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import catalogue
import commands
import reference
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
REPOSITORY = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/RESULTS.md",
    "benchmarks/faults/README.md",
    "benchmarks/faults/peers/README.md",
)
"""Pages that stand elsewhere in the repository and are shown as they are."""
IN_DEPTH = "In depth"
"""The part of the menu that takes whatever page under `docs/` the configuration does not name."""


def on_config(config: Any) -> Any:
    """Complete the menu by pages that `mkdocs.yml` does not name; loads nothing from elsewhere."""
    named = set(_paths(config.nav))
    docs = Path(config.docs_dir)
    rest = sorted(
        path.relative_to(docs).as_posix() for path in docs.rglob("*.md") if path.is_file()
    )
    part = next(one[IN_DEPTH] for one in config.nav if IN_DEPTH in one)
    part += [path for path in rest if path not in named]
    # In the place of the script of a public server that the plugin `offline` asks for.
    config.extra["polyfills"] = ["worker.js"]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are written from the code and those of the repository."""
    written = {
        "causes.md": catalogue.page(),
        "commands.md": commands.page(),
        "zh.md": (ROOT / "README.zh-CN.md").read_text("utf-8"),
        **reference.pages(),
    }
    for path, text in written.items():
        files.append(File.generated(config, path, content=text))
    for path in (*REPOSITORY, *_drawings()):
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as they work in the repository become links of the site."""
    if page.file.src_uri == "zh.md":
        return re.sub(r"\]\((?:docs/|(?=README\.md))", "](", markdown).replace(
            "](README.md)", "](index.md)"
        )
    up = "../" * page.file.src_uri.count("/")
    # From docs/why.md the repository is one folder further up than the site's root from why.html.
    return (
        markdown if page.file.src_uri in REPOSITORY else markdown.replace(f"]({up}../", f"]({up}")
    )


def _drawings() -> list[str]:
    folder = ROOT / "benchmarks" / "plots"
    return [os.fspath(path.relative_to(ROOT)) for path in sorted(folder.glob("*.png"))]


def _paths(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    values = nav.values() if isinstance(nav, dict) else nav
    return [path for one in values for path in _paths(one)]
