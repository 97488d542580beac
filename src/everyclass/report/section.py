"""A section of a report, and the pictures in it. Comes in: values. Goes out: what a template draws.

A section that has nothing to show is `Absent`: it is left out, and the end of the report says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from everyclass.images.audit_words import short_name
from everyclass.report.thumbnails import Thumbnail, Thumbnails


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One heading and what stands below it.

    Attributes:
        id: of its anchor.
        title: in the page and in its contents.
        template: file name below `templates/`.
        values: what the template is given.
        count: a figure beside the title in the contents, "" for none.
    """

    id: str
    title: str
    template: str
    values: Mapping[str, Any]
    count: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A section that the folder has nothing for."""

    title: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """An image as it is shown: small, with its name and a line on it.

    Attributes:
        path: whole.
        name: the last two parts of the path.
        lines: words below it; `alt` is what it shows, for who cannot see it.
        thumbnail: its picture, or the reason why there is none.
    """

    path: str
    name: str
    lines: tuple[str, ...]
    thumbnail: Thumbnail

    @property
    def alt(self) -> str:
        """What the picture is of."""
        return f"{self.name}: {'; '.join(self.lines)}" if self.lines else self.name


def shots_of(
    images: Sequence[tuple[str, tuple[str, ...]]], thumbnails: Thumbnails, *, share: float = 1.0
) -> list[Shot | None]:
    """One for each (path, lines); None where it no longer fits."""
    found = thumbnails.take([path for path, _ in images], share=share)
    return [
        None if one is None else Shot(path=path, name=short_name(path), lines=lines, thumbnail=one)
        for (path, lines), one in zip(images, found)
    ]
