"""A strict reading of a page: what is open, named and linked. Standard library alone."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "hr", "input", "link", "base", "wbr", "source", "col"}
SVG_VOID = {"line", "rect", "circle", "polyline", "path"}  # may close themselves


class Page(HTMLParser):
    """All tags of a page with their attributes; complains of what does not nest.

    Attributes:
        tags: (name, attributes) in order.
        text: all words, without style and script.
        faults: in words.
    """

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.faults: list[str] = []
        self.text = ""
        self.headings: list[tuple[int, str]] = []
        self._open: list[str] = []
        self._heading: str | None = None
        self.feed(content)
        self.close()
        if self._open:
            self.faults.append(f"left open: {self._open}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            self.faults.append(f"{tag}: an attribute twice, {names}")
        if tag == "p" and "p" in self._open:
            self.faults.append("a paragraph inside a paragraph")
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)
        if tag in ("h1", "h2", "h3", "h4"):
            self._heading = ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in SVG_VOID | VOID:
            self.faults.append(f"<{tag}/> does not close in HTML")
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.faults.append(f"</{tag}> inside {self._open[-3:]} at {self.getpos()}")
            return
        self._open.pop()
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append((int(tag[1]), (self._heading or "").strip()))
            self._heading = None

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("style", "script"):
            return
        self.text += data
        if self._heading is not None:
            self._heading += data

    def values(self, attribute: str) -> list[str]:
        """Of all tags."""
        return [attributes[attribute] for _, attributes in self.tags if attribute in attributes]
