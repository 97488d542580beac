"""What in an audit deserves a warning.

Comes in: the facts of an `Audit`. Goes out: warnings, the most harmful first. A
check is a function from an audit to a warning or None; `CHECKS` lists each once, in the order in
which warnings of the same harm appear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from everyclass.images.audit_likeness import near_duplicate_warnings
from everyclass.images.audit_looks import odd_image_warnings
from everyclass.images.audit_values import (
    HARMS,
    SPLITS_OR_NONE,
    Audit,
    AuditWarning,
    Harm,
)
from everyclass.images.audit_words import name_of, share_of, short_name
from everyclass.images.readers_rules import listed, plural
from everyclass.stats.collapse import LEAST_TRAIN_IMAGES

IMBALANCE_RATIO = 3.0
"""From this ratio of the largest to the smallest class on, a correction is worth its risks."""

INVALID_SHARE = 0.01
"""From this share of affected images on, copies make figures invalid; below, they move them by no
more than that."""

_NARROW_RANGE = 64  # of 256 values: beyond two lost bits, noise and detail are alike
_GREY_MODES = frozenset({"1", "L", "LA", "La", "F"})


def find_warnings(audit: Audit) -> tuple[AuditWarning, ...]:
    """Every warning that the facts give rise to, by harm and then in the order of `CHECKS`."""
    found = [warning for check in CHECKS if (warning := check(audit)) is not None]
    found += [*near_duplicate_warnings(audit), *odd_image_warnings(audit)]
    return tuple(sorted(found, key=lambda warning: HARMS.index(warning.harm)))


# invalid: figures would mean something else than they seem to.


def _copies_across_splits(audit: Audit) -> AuditWarning | None:
    groups = [group for group in audit.duplicates if group.across_splits]
    if not groups:
        return None
    leaks = [g for g in groups if any(found.split == "train" for found in g.images)]
    leaked = sum(found.split in ("val", "test") for g in leaks for found in g.images)
    evaluated = sum(part.n for part in audit.splits if part.split in ("val", "test"))
    example = (leaks or groups)[0].images
    first = min((f for f in example if f.split), key=lambda f: SPLITS_OR_NONE.index(f.split))
    other = next(found for found in example if found.split not in ("", first.split))
    what = (
        f"{plural(leaked, 'image')} to evaluate on ({share_of(leaked, evaluated)}) "
        f"{'is' if leaked == 1 else 'are'} in train as well, byte for byte: memory is measured, "
        "not recognition"
        if leaked
        else f"{plural(len(groups), 'image')} {'is' if len(groups) == 1 else 'are'} in val and in "
        "test, byte for byte: the test is not independent of what val selected"
    )
    return AuditWarning(
        id="duplicates-across-splits",
        harm=_harm_of_copies(leaked, evaluated) if leaked else "notable",
        sentence=f"{what}. First: {name_of(first)} ({first.split}), {name_of(other)} "
        f"({other.split}).",
        remedy="Remove the copies, or give all copies of an image one value in a group column: "
        "a group stays in one split.",
        evidence={"groups": len(groups), "leaked": leaked, "evaluated": evaluated},
    )


def _harm_of_copies(affected: int, of: int) -> Harm:
    return "invalid" if affected >= INVALID_SHARE * of else "harmful"


def _copies_across_labels(audit: Audit) -> AuditWarning | None:
    groups = [group for group in audit.duplicates if group.across_labels]
    if not groups:
        return None
    images = sum(len(group.images) for group in groups)
    first = next(found for found in groups[0].images if found.label is not None)
    other = next(found for found in groups[0].images if found.label not in (None, first.label))
    return AuditWarning(
        id="duplicates-across-labels",
        harm=_harm_of_copies(images, audit.n),
        sentence=f"{plural(images, 'image')} in {plural(len(groups), 'group')} of identical files "
        f"carry different labels; first: {name_of(first)} is '{first.label}', {name_of(other)} is "
        f"'{other.label}'. At most one label of each group is right.",
        remedy="Decide on one label for each group, or remove its images.",
        evidence={"groups": len(groups), "images": images},
    )


def _groups_across_splits(audit: Audit) -> AuditWarning | None:
    if not audit.straddling:
        return None
    first = audit.straddling[0]
    where = ", ".join(f"{split} {n:,}" for split, n in first.counts)
    n = len(audit.straddling)
    return AuditWarning(
        id="groups-across-splits",
        harm="invalid",
        sentence=f"{plural(n, 'group')} {'has' if n == 1 else 'have'} images in more than one "
        f"split; first: '{first.group}' ({where}). The network can recognise the group instead of "
        "the class.",
        remedy="Move each group to one split, or leave out the split column: images are then "
        "split group by group.",
        evidence={"groups": n},
    )


def _untrained_classes(audit: Audit) -> AuditWarning | None:
    if not audit.has_train:
        return None
    names = [
        name
        for name, trained, total in zip(audit.classes, audit.train_counts, audit.class_counts)
        if trained == 0 < total
    ]
    if not names:
        return None
    return AuditWarning(
        id="class-not-in-train",
        harm="invalid",
        sentence=f"{_classes(names)} {_has(names)} images in val or test but none in train: "
        "recall 0 there is certain.",
        remedy="Move images to train, or remove the class.",
        evidence={"classes": len(names)},
    )


# harmful: costs recall of some class, or images.


def _empty_classes(audit: Audit) -> AuditWarning | None:
    names = [name for name, n in zip(audit.classes, audit.class_counts) if n == 0]
    if not names:
        return None
    return AuditWarning(
        id="class-empty",
        harm="harmful",
        sentence=f"{_classes(names)} {_has(names)} no image that can be read.",
        remedy="Add images, or remove the class.",
        evidence={"classes": len(names)},
    )


def _imbalance(audit: Audit) -> AuditWarning | None:
    ratio, counts = audit.imbalance_ratio, audit.train_counts
    if ratio is None or ratio < IMBALANCE_RATIO:
        return None
    largest = max(range(len(counts)), key=lambda c: counts[c])
    smallest = min((c for c in range(len(counts)) if counts[c]), key=lambda c: counts[c])
    return AuditWarning(
        id="class-imbalance",
        harm="harmful",
        sentence=f"'{audit.classes[largest]}' has {ratio:.3g} times as many training images "
        f"({counts[largest]:,}) as '{audit.classes[smallest]}' ({counts[smallest]:,}): plain "
        "training favours the large classes.",
        remedy="Correct it once (in the sampling, in the loss or after training) and never in two "
        "of these places. 'everyclass train' chooses one and gives the reason.",
        evidence={"ratio": ratio, "largest": counts[largest], "smallest": counts[smallest]},
    )


def _tiny_classes(audit: Audit) -> AuditWarning | None:
    names = [
        name for name, n in zip(audit.classes, audit.train_counts) if 0 < n < LEAST_TRAIN_IMAGES
    ]
    if not names:
        return None
    return AuditWarning(
        id="class-tiny",
        harm="harmful",
        sentence=f"{_classes(names)} {_has(names)} fewer than {LEAST_TRAIN_IMAGES} training "
        "images: too few to learn from.",
        remedy="Add images, or merge the class with one that it may be confused with.",
        evidence={"classes": len(names), "least": LEAST_TRAIN_IMAGES},
    )


def _unmeasured_classes(audit: Audit) -> AuditWarning | None:
    part = audit.judging_split
    if part is None:
        return None
    names = [
        name
        for name, trained, n in zip(audit.classes, audit.train_counts, part.counts)
        if trained > 0 == n
    ]
    if not names:
        return None
    return AuditWarning(
        id="class-unmeasured",
        harm="harmful",
        sentence=f"{_classes(names)} {_has(names)} no image in {part.split}: its recall cannot be "
        "measured."
        if len(names) == 1
        else f"{_classes(names)} {_has(names)} no image in {part.split}: their recalls cannot be "
        "measured.",
        remedy=f"Move a few images to {part.split}.",
        evidence={"classes": len(names)},
    )


def _unreadable(audit: Audit) -> AuditWarning | None:
    n = len(audit.unreadable)
    if n == 0:
        return None
    first = audit.unreadable[0]
    return AuditWarning(
        id="unreadable",
        harm="harmful",
        sentence=f"{plural(n, 'image')} ({share_of(n, n + audit.n)}) cannot be read and "
        f"{'is' if n == 1 else 'are'} left out; first: {short_name(first.image)}: {first.reason}.",
        remedy="Restore the files from their source, or remove them.",
        evidence={"images": n, "of": n + audit.n},
    )


def _set_aside(audit: Audit) -> AuditWarning | None:
    n = len(audit.set_aside)
    if n == 0:
        return None
    first = audit.set_aside[0]
    return AuditWarning(
        id="set-aside",
        harm="harmful",
        sentence=f"{plural(n, 'row')} of {audit.source} cannot be used and "
        f"{'is' if n == 1 else 'are'} left out; first: {short_name(first.image)}: {first.reason}.",
        remedy="Mend these rows, or remove them.",
        evidence={"rows": n},
    )


def _blank(audit: Audit) -> AuditWarning | None:
    n = len(audit.blank)
    if n == 0:
        return None
    first = audit.blank[0]
    shade = "black" if first.level <= 12 else "white" if first.level >= 243 else "grey or coloured"
    return AuditWarning(
        id="blank",
        harm="harmful",
        sentence=f"{plural(n, 'image')} ({share_of(n, audit.n)}) "
        f"{'shows' if n == 1 else 'show'} one colour and nothing else; first: "
        f"{name_of(first.found)}, {shade} (level {first.level} of 255).",
        remedy="Look at them, and remove what holds no picture: its label teaches nothing.",
        evidence={"images": n, "of": audit.n},
    )


def _narrow_range(audit: Audit) -> AuditWarning | None:
    narrow = [
        kind for kind in audit.kinds if kind.high - kind.low < _NARROW_RANGE and kind.n > kind.blank
    ]
    if not narrow:
        return None
    n = sum(kind.n for kind in narrow)
    kind = narrow[0]
    deep = kind.bit_depth > 8
    return AuditWarning(
        id="narrow-range",
        harm="harmful",
        sentence=f"{plural(n, 'image')} ({share_of(n, audit.n)}; {kind.format}, {kind.mode}, "
        f"{kind.bit_depth} bits) {'has' if n == 1 else 'have'} values {kind.low} to {kind.high} "
        "of 0 to 255 only, once decoded: nearly one colour.",
        remedy="Their values fill a part of the 16 bits, as those of a 12-bit camera do. Export "
        "them with the range spread over all bits."
        if deep
        else "See that these are images and not masks of class numbers; if they are, export them "
        "with the range spread over 0 to 255.",
        evidence={"images": n, "low": kind.low, "high": kind.high, "bit_depth": kind.bit_depth},
    )


# notable: the reader has to judge.


def _copies(audit: Audit) -> AuditWarning | None:
    groups = [g for g in audit.duplicates if not (g.across_labels or g.across_splits)]
    if not groups:
        return None
    extra = sum(len(group.images) - 1 for group in groups)
    first, second = groups[0].images[:2]
    return AuditWarning(
        id="duplicates",
        harm="notable",
        sentence=f"{plural(extra, 'file is a copy', 'files are copies')} of other files with the "
        f"same label and split ({share_of(extra, audit.n)}); first: {name_of(first)} and "
        f"{name_of(second)}.",
        remedy="Remove the copies: they count double, and make intervals too narrow.",
        evidence={"groups": len(groups), "extra": extra},
    )


def _sorted(audit: Audit) -> AuditWarning | None:
    order = audit.label_order
    if order is None or not order.is_sorted or order.alike_if_shuffled == 1:
        return None
    return AuditWarning(
        id="label-order",
        harm="notable",
        sentence=f"One class follows the other in the list: {order.alike:.1%} of neighbours share "
        f"a label, {order.alike_if_shuffled:.1%} would in random order.",
        remedy="Training here shuffles. A loader of your own must: in this order a batch holds one "
        "class, and the network learns to answer with the latest.",
        evidence={"alike": order.alike, "alike_if_shuffled": order.alike_if_shuffled},
    )


def _enlarged(audit: Audit) -> AuditWarning | None:
    n = audit.sizes.smaller
    if n == 0:
        return None
    return AuditWarning(
        id="enlarged",
        harm="notable",
        sentence=f"{plural(n, 'image')} ({share_of(n, audit.n)}) {'has' if n == 1 else 'have'} a "
        f"side shorter than {audit.side} px and {'is' if n == 1 else 'are'} enlarged.",
        remedy="Enlarging adds no detail; a smaller --image-size trains faster. Where enlarged "
        "images belong to one class, their blur gives it away.",
        evidence={"images": n, "of": audit.n, "side": audit.side},
    )


def _depth_lost(audit: Audit) -> AuditWarning | None:
    n = sum(kind.n for kind in audit.kinds if kind.bit_depth > 8)
    if n == 0:
        return None
    deepest = max(kind.bit_depth for kind in audit.kinds)
    return AuditWarning(
        id="depth-lost",
        harm="notable",
        sentence=f"{plural(n, 'image')} ({share_of(n, audit.n)}) with up to {deepest} bits a "
        f"channel {'is' if n == 1 else 'are'} brought to 8 bits.",
        remedy="Nothing to do, unless the classes differ in faint shades: then spread these over "
        "8 bits when exporting.",
        evidence={"images": n, "of": audit.n, "bit_depth": deepest},
    )


def _grey_and_colour(audit: Audit) -> AuditWarning | None:
    grey = sum(kind.n for kind in audit.kinds if _is_grey(kind.mode))
    told = any(odd.oddity == "grey-among-coloured" for odd in audit.odd_images)
    if grey in (0, audit.n) or told:
        return None
    return AuditWarning(
        id="grey-and-colour",
        harm="notable",
        sentence=f"{plural(grey, 'image')} ({share_of(grey, audit.n)}) stored as grey, "
        f"{audit.n - grey:,} as colour.",
        remedy="See whether one class is mostly grey: the network would learn that instead. If so, "
        "turn all images grey.",
        evidence={"grey": grey, "colour": audit.n - grey},
    )


def _reduced(audit: Audit) -> AuditWarning | None:
    if audit.reduced == 0:
        return None
    return AuditWarning(
        id="reduced",
        harm="notable",
        sentence=f"{plural(audit.reduced, 'JPEG')} of over 179 megapixels decoded at a fraction of "
        "the size.",
        remedy=f"Nothing to do at {audit.side} px. For detail, cut them into tiles.",
        evidence={"images": audit.reduced},
    )


def _unlabelled(audit: Audit) -> AuditWarning | None:
    n = audit.unlabelled
    if n == 0 or not audit.classes:
        return None
    return AuditWarning(
        id="unlabelled",
        harm="notable",
        sentence=f"{plural(n, 'image')} ({share_of(n, audit.n)}) "
        f"{'has' if n == 1 else 'have'} no label and {'takes' if n == 1 else 'take'} no part in "
        "training.",
        remedy="Label them, or leave them.",
        evidence={"images": n, "of": audit.n},
    )


CHECKS: tuple[Callable[[Audit], AuditWarning | None], ...] = (
    _copies_across_splits,
    _groups_across_splits,
    _copies_across_labels,
    _untrained_classes,
    _empty_classes,
    _imbalance,
    _tiny_classes,
    _unmeasured_classes,
    _unreadable,
    _set_aside,
    _blank,
    _narrow_range,
    _copies,
    _sorted,
    _enlarged,
    _grey_and_colour,
    _depth_lost,
    _reduced,
    _unlabelled,
)


def _is_grey(mode: str) -> bool:
    return mode in _GREY_MODES or mode.startswith("I;16")


def _classes(names: Sequence[str]) -> str:
    return f"{'Class' if len(names) == 1 else 'Classes'} {listed(names)}"


def _has(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"
