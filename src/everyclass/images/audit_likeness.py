"""What an audit warns of where different files look alike.

Comes in: the facts of an `Audit`. Goes out: warnings. That two photographs look alike need be no
fault: what is said is what follows if they show the same thing.
"""

from __future__ import annotations

from collections.abc import Iterator

from everyclass.images.audit_values import SPLITS_OR_NONE, Audit, AuditWarning, DuplicateGroup
from everyclass.images.audit_words import name_of, share_of
from everyclass.images.readers_rules import plural

HARMFUL_SHARE = 0.01
"""Of the images to evaluate on, from which near copies in train are called harmful."""


def near_duplicate_warnings(audit: Audit) -> Iterator[AuditWarning]:
    """Across splits, across labels, and the rest."""
    groups = audit.near_duplicates
    across_splits = [one for one in groups if one.across_splits]
    across_labels = [one for one in groups if one.across_labels]
    others = [one for one in groups if not (one.across_splits or one.across_labels)]
    if across_splits:
        yield _across_splits(audit, across_splits)
    if across_labels:
        yield _across_labels(across_labels)
    if others:
        yield _others(audit, others)


def _across_splits(audit: Audit, groups: list[DuplicateGroup]) -> AuditWarning:
    leaks = [one for one in groups if any(found.split == "train" for found in one.images)]
    leaked = sum(found.split in ("val", "test") for one in leaks for found in one.images)
    evaluated = sum(part.n for part in audit.splits if part.split in ("val", "test"))
    example = [found for found in (leaks or groups)[0].images if found.split]
    first = min(example, key=lambda found: SPLITS_OR_NONE.index(found.split))
    other = next(found for found in example if found.split != first.split)
    what = (
        f"{plural(leaked, 'image')} to evaluate on ({share_of(leaked, evaluated)}) "
        f"{'looks' if leaked == 1 else 'look'} like images of train: if they show the same thing, "
        "memory is measured there"
        if leaked
        else f"{plural(len(groups), 'group')} of images in val and in test look alike"
    )
    return AuditWarning(
        id="near-duplicates-across-splits",
        harm="harmful" if leaked >= HARMFUL_SHARE * max(1, evaluated) else "notable",
        sentence=f"{what}. First: {name_of(first)} ({first.split}), {name_of(other)} "
        f"({other.split}).",
        remedy="Look at them (near_duplicates in audit.json). Pictures of one thing belong into "
        "one split: give them one value in a group column.",
        evidence={"groups": len(groups), "leaked": leaked, "evaluated": evaluated},
    )


def _across_labels(groups: list[DuplicateGroup]) -> AuditWarning:
    images = sum(len(one.images) for one in groups)
    labelled = [found for found in groups[0].images if found.label is not None]
    first = labelled[0]
    other = next(found for found in labelled if found.label != first.label)
    return AuditWarning(
        id="near-duplicates-across-labels",
        harm="harmful",
        sentence=f"{plural(images, 'image')} in {plural(len(groups), 'group')} look alike and "
        f"carry different labels; first: {name_of(first)} is '{first.label}', {name_of(other)} is "
        f"'{other.label}'.",
        remedy="Look at them (near_duplicates in audit.json): where they show the same thing, one "
        "label is wrong.",
        evidence={"groups": len(groups), "images": images},
    )


def _others(audit: Audit, groups: list[DuplicateGroup]) -> AuditWarning:
    extra = sum(len(one.images) - 1 for one in groups)
    first, second = groups[0].images[:2]
    return AuditWarning(
        id="near-duplicates",
        harm="notable",
        sentence=f"{plural(extra, 'image')} ({share_of(extra, audit.n)}) "
        f"{'looks' if extra == 1 else 'look'} like another one with the same label and split; "
        f"first: {name_of(first)} and {name_of(second)}.",
        remedy="Pictures of one thing count double: give them one value in a group column, so that "
        "they stay in one split.",
        evidence={"groups": len(groups), "extra": extra},
    )
