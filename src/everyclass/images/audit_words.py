"""How warnings of an audit name an image and a share. Comes in: values. Goes out: words."""

from __future__ import annotations

from everyclass.images.audit_values import FoundImage


def share_of(part: int, whole: int) -> str:
    """A percentage that never rounds something to nothing: "under 0.1%"."""
    if 0 < part < 0.001 * whole:
        return "under 0.1%"
    return f"{part / whole:.1%}" if whole else "0%"


def name_of(found: FoundImage) -> str:
    """The image's short name."""
    return short_name(found.image)


def short_name(image: str) -> str:
    """The last two parts of a path: enough to find it, short enough for a line."""
    return "/".join(image.replace("\\", "/").rstrip("/").rsplit("/", 2)[-2:])
