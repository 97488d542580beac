"""Images that look odd: dark, light, blurred, hardly anything in them, grey among coloured ones, of
another size or shape. Which they are, and what an audit warns of.

Comes in: the `looks.LOOK` of each image; the facts of an `Audit`. Goes out: rows; warnings. An odd
image need be no fault: what is said is how many, which, and whether they are of one class.

The limits for dark, light and low information are those of CleanVision 0.3 (cleanlab), on grey
levels at 64 x 64 px.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from everyclass.images.audit_values import ODDITIES, Audit, AuditWarning, OddImages, Oddity
from everyclass.images.audit_words import name_of, share_of
from everyclass.images.readers_rules import plural
from everyclass.stats.intervals import wilson_interval

DARK, LIGHT = 0.37 * 255, 0.95 * 255
"""99 % of the pixels are darker; 95 % are lighter."""

LEAST_BITS = 3.0
BLURRED = 0.2
"""Of `looks.LOOK`'s sharpest: no edge is sharper than one blurred over 1.9 of 64 px. Of TrashNet's
photographs (150 px) 2 % have less than 0.42; blurred by 8 px all of 120 have less than 0.18. Of
blood cells (128 px) the least is 0.99; blurred by 4 px three quarters have less than 0.22."""

STRETCHED = 2.0
"""Longer over shorter side, beyond which a square is another picture."""

FAR_SIZE, LEAST_FACTOR = 3.0, 2.0
"""Quartile ranges beyond a quartile from which a size (root of the area) is odd, if it is this many
times the median or less than its inverse as well."""

CONCENTRATED = 3.0
"""Times the share among images of other classes from which a class is named, by the lower end of
an interval; it must exceed the share among all images too."""


def odd_rows(
    looks: npt.NDArray[np.void], blank: npt.NDArray[np.bool_]
) -> dict[Oddity, npt.NDArray[np.int64]]:
    """Places of the images that look odd, by how.

    Args:
        looks: (n,) of `looks.LOOK`.
        blank: (n,) images of one colour, of whose tones nothing else is said.
    """
    width, height = looks["width"].astype(np.float64), looks["height"].astype(np.float64)
    blurred = looks["sharpest"] < BLURRED
    grey = looks["grey"]
    found: dict[Oddity, npt.NDArray[np.bool_]] = {
        "dark": (looks["bright_end"] < DARK) & ~blank,
        "light": (looks["dark_end"] > LIGHT) & ~blank,
        "low-information": (looks["bits"] < LEAST_BITS) & ~blank,
        "blurred": blurred & ~blank,
        "grey-among-coloured": grey & ~blank if grey.mean() < 0.5 else np.zeros_like(grey),
        "odd-size": _odd_sizes(np.sqrt(width * height)),
        "stretched": np.maximum(width, height) > STRETCHED * np.minimum(width, height),
    }
    return {name: np.flatnonzero(one) for name, one in found.items() if one.any()}


def _odd_sizes(sides: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    low, middle, high = np.quantile(sides, (0.25, 0.5, 0.75))
    reach = FAR_SIZE * (high - low)
    beyond = (sides < low - reach) | (sides > high + reach)
    far = (sides > LEAST_FACTOR * middle) | (sides * LEAST_FACTOR < middle)
    return np.asarray(beyond & far, dtype=np.bool_)


def odd_image_warnings(audit: Audit) -> Iterator[AuditWarning]:
    """One for each way of looking odd."""
    for odd in sorted(audit.odd_images, key=lambda one: ODDITIES.index(one.oddity)):
        yield _warning(audit, odd)


def _warning(audit: Audit, odd: OddImages) -> AuditWarning:
    n = len(odd.images)
    first = odd.images[0]
    one_class = _concentrated(audit, odd)
    verb = "is" if n == 1 else "are"
    return AuditWarning(
        id=odd.oddity,
        harm="notable" if one_class is None else "harmful",
        sentence=f"{plural(n, 'image')} ({share_of(n, audit.n)}) {verb} {_WORDS[odd.oddity]}; "
        f"first: {name_of(first)}." + ("" if one_class is None else f" {one_class}"),
        remedy=_REMEDIES[odd.oddity] if one_class is None else _OF_ONE_CLASS,
        evidence={"images": n, "of": audit.n},
    )


def _concentrated(audit: Audit, odd: OddImages) -> str | None:
    """A sentence on a class that has far more than its share of them, beyond chance."""
    counts = Counter(found.label for found in odd.images if found.label is not None)
    level = 1 - 0.05 / max(1, len(audit.classes))
    for label, n in counts.most_common():
        of = audit.class_counts[audit.classes.index(label)]
        others = (len(odd.images) - n) / max(1, audit.n - of)
        least = max(CONCENTRATED * others, len(odd.images) / audit.n)
        if wilson_interval(n, of, level=level)[0] > least:
            return (
                f"{n:,} of them are of class '{label}': {n / of:.0%} of its images, "
                f"{share_of(len(odd.images) - n, audit.n - of)} of the others."
            )
    return None


_WORDS: dict[Oddity, str] = {
    "dark": "dark: 99 % of the pixels stay below 95 of 255",
    "light": "hardly anything but white: 95 % of the pixels exceed 242 of 255",
    "low-information": f"nearly of one tone: fewer than {LEAST_BITS:g} bits of grey levels",
    "blurred": "blurred, or show nothing with an edge, even at 64 px",
    "grey-among-coloured": "grey among coloured ones",
    "odd-size": "of quite another size than the rest",
    "stretched": "more than twice as long as wide: the square they become distorts them",
}
_OF_ONE_CLASS = (
    "See whether the class looks so by nature. If the camera or the export made it so, the network "
    "will learn that instead of the class."
)
_REMEDIES: dict[Oddity, str] = {
    "dark": "Look at them: an exposure that failed teaches nothing.",
    "light": "Look at them: an empty field, or an exposure that failed, teaches nothing.",
    "low-information": "Look at them, and remove what shows nothing.",
    "blurred": "Look at them: what you cannot recognise, no network will.",
    "grey-among-coloured": "See that they are no masks and no copies of coloured ones.",
    "odd-size": "Look at them: thumbnails and whole slides among photographs are other pictures.",
    "stretched": "Crop them to what matters, if shape tells the classes apart.",
}
