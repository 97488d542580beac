"""Small pictures inside a report, as many as its size allows.

Comes in: paths, in the order of their importance. Goes out: data URIs; for an image that is gone
or unreadable, the reason. An image is decoded as everywhere else (`images.pixels`), so that what is
seen is what the network was given, at the proportions of the file.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from everyclass.errors import EveryclassError
from everyclass.images.contents import NO_SUCH_FILE, read_bytes
from everyclass.images.damage import UnreadableImage
from everyclass.images.pixels import decode_resized

SIDE = 112
"""Pixels of the longer side; shown at 112 px on a desktop and a little less on a phone."""

QUALITY = 72
READERS = 8
"""Files read at a time: they may lie on a network."""

MOST_BYTES = 3_600_000
"""Of all data URIs together; the whole report stays under 5 MB."""

MOST_IMAGES = 900
"""That are decoded for one report: at 5 to 20 ms each, some seconds at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """A small picture, or the reason why there is none.

    Args:
        uri: `data:image/jpeg;base64,...`; "" without a picture.
        width, height: of the picture in px.
        reason: "" with a picture.
    """

    uri: str = ""
    width: int = SIDE
    height: int = SIDE
    reason: str = ""


@dataclass(slots=True)
class Thumbnails:
    """The pictures of one report. What several sections show is decoded once, and counts each time:
    a data URI stands where it is shown.

    Args:
        most_bytes, most_images: limits.
    """

    most_bytes: int = MOST_BYTES
    most_images: int = MOST_IMAGES
    spent_bytes: int = field(default=0, init=False)
    shown: int = field(default=0, init=False)
    asked: int = field(default=0, init=False)
    _known: dict[str, Thumbnail] = field(default_factory=dict, init=False)

    @property
    def missing(self) -> tuple[tuple[str, str], ...]:
        """(path, reason) of images that were asked for and could not be had."""
        return tuple((path, one.reason) for path, one in self._known.items() if one.reason)

    @property
    def relative_missing(self) -> bool:
        """Whether any of them is a path that depends on where one stands."""
        return any(
            reason == NO_SUCH_FILE and "://" not in path and not Path(path).is_absolute()
            for path, reason in self.missing
        )

    def take(self, paths: Sequence[str], *, share: float = 1.0) -> list[Thumbnail | None]:
        """The pictures of these paths, in order; None for those that no longer fit.

        Args:
            share: of what is left of the limits that these may use, in (0, 1].
        """
        bytes_left = int(share * (self.most_bytes - self.spent_bytes))
        images_left = int(share * (self.most_images - self.shown))
        wanted = list(paths)[: max(images_left, 0)]
        self._load([path for path in dict.fromkeys(wanted) if path not in self._known])
        found: list[Thumbnail | None] = []
        for path in wanted:
            one = self._known[path]
            if len(one.uri) > bytes_left:
                break  # in the order of importance: a smaller one further down must not jump ahead
            bytes_left -= len(one.uri)
            self.spent_bytes += len(one.uri)
            self.shown += bool(one.uri)
            found.append(one)
        self.asked += len(paths)
        return found + [None] * (len(paths) - len(found))

    def _load(self, paths: Sequence[str]) -> None:
        if not paths:
            return
        with ThreadPoolExecutor(READERS) as pool:
            self._known.update(zip(paths, pool.map(thumbnail, paths)))


def thumbnail(path: str) -> Thumbnail:
    """The picture of one file."""
    try:
        decoded = decode_resized(read_bytes(path), side=SIDE)
    except UnreadableImage as error:
        return Thumbnail(reason=error.reason)
    except (EveryclassError, OSError) as error:
        # A remote store that does not answer, or one without its package: no picture, a report.
        return Thumbnail(reason=str(error) or type(error).__name__)
    longest = max(decoded.width, decoded.height)
    width = max(round(SIDE * decoded.width / longest), 1)
    height = max(round(SIDE * decoded.height / longest), 1)
    picture = Image.fromarray(decoded.rgb).resize((width, height), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    content = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Thumbnail(uri=f"data:image/jpeg;base64,{content}", width=width, height=height)
