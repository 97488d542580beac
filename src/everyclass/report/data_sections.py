"""What was found in the data: warnings, classes, odd images, copies. And the recipe, with reasons.

Comes in: contents of a run. Goes out: sections, or why there is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from everyclass.images.audit_values import HARMS, Audit, DuplicateGroup, FoundImage, Oddity
from everyclass.images.readers_rules import plural
from everyclass.recipe import Decision, show_value
from everyclass.report.contents import Contents
from everyclass.report.section import Absent, Section, Shot, shots_of
from everyclass.report.thumbnails import Thumbnails

SHOWN_ODD = 8  # images of one kind of oddity
SHOWN_GROUPS = 12  # groups of copies, and of look-alikes
SHOWN_IN_GROUP = 4
SHOWN_CLASSES = 40
SHOWN_FILES = 12

SHARE = 0.3
"""Of the thumbnails' limits that findings in the data may use."""

ODD_WORDS: dict[Oddity, str] = {
    "dark": "Very dark",
    "light": "Very light",
    "low-information": "Hardly any detail",
    "blurred": "Blurred",
    "grey-among-coloured": "Grey among coloured ones",
    "odd-size": "Another size than the rest",
    "stretched": "Far from square, so stretched",
}
TOLD_FIRST = (
    *("image_size", "model", "pretrained", "fine_tuning", "epochs", "batch_size"),
    *("learning_rate", "optimizer", "imbalance", "normalisation", "augmentation", "selection"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Pictures under a heading; `of` is how many there are in all."""

    title: str
    note: str
    shots: tuple[Shot, ...]
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRow:
    """Images of one class, by split; `share` is of the largest class."""

    name: str
    n: int
    share: float
    by_split: tuple[int, ...]


def data_section(contents: Contents, thumbnails: Thumbnails) -> Section | Absent:
    """Warnings, classes, pixels, odd images, files left out."""
    audit = contents.audit
    if audit is None:
        return Absent(title="Data", reason="the folder has no audit.json that can be read")
    counts = Counter(warning.harm for warning in audit.warnings)
    left_out = (*audit.unreadable, *audit.set_aside)
    return Section(
        id="data",
        title="What was found in the data",
        template="data.html",
        count=str(len(audit.warnings)) if audit.warnings else "",
        values={
            "audit": audit,
            "counted": ", ".join(f"{counts[harm]} {harm}" for harm in HARMS if counts[harm]),
            "splits": [part.split or "no split" for part in audit.splits],
            "classes": _class_rows(audit),
            "more_classes": max(len(audit.classes) - SHOWN_CLASSES, 0),
            "galleries": _odd(audit, thumbnails),
            "left_out": left_out[:SHOWN_FILES],
            "more_left_out": max(len(left_out) - SHOWN_FILES, 0),
            "facts": _facts(audit),
        },
    )


def _class_rows(audit: Audit) -> list[ClassRow]:
    counts = audit.class_counts
    largest = max((*counts, 1))
    order = sorted(range(len(counts)), key=lambda k: -counts[k])
    if len(order) > SHOWN_CLASSES:  # both ends: what is rare matters most
        order = [*order[: SHOWN_CLASSES // 2], *order[-SHOWN_CLASSES // 2 :]]
    return [
        ClassRow(
            name=audit.classes[k],
            n=counts[k],
            share=counts[k] / largest,
            by_split=tuple(part.counts[k] for part in audit.splits),
        )
        for k in order
    ]


def _facts(audit: Audit) -> list[tuple[str, str]]:
    sizes = audit.sizes
    size = f"all {sizes.width.low:,} x {sizes.height.low:,} px"
    if sizes.distinct > 1:
        size = (
            f"width {sizes.width.low:,} to {sizes.width.high:,} (median {sizes.width.median:,}), "
            f"height {sizes.height.low:,} to {sizes.height.high:,} (median "
            f"{sizes.height.median:,}) px"
        )
    kinds: Counter[str] = Counter()
    for kind in audit.kinds:
        kinds[f"{kind.format} {kind.mode}, {plural(kind.bit_depth, 'bit')}"] += kind.n
    told = "; ".join(f"{words} ({n:,})" for words, n in kinds.most_common(4))
    facts = [
        ("images", f"{audit.n:,}"),
        ("classes", f"{len(audit.classes):,}"),
        ("size", size),
        ("stored as", told + (f"; {len(kinds) - 4} more" if len(kinds) > 4 else "")),
    ]
    if audit.imbalance_ratio is not None:
        facts.insert(2, ("imbalance ratio", f"{audit.imbalance_ratio:.3g}"))
    return facts


def _odd(audit: Audit, thumbnails: Thumbnails) -> list[Gallery]:
    """Blank images, then those that look odd, by how."""
    kinds: list[tuple[str, str, Sequence[FoundImage]]] = []
    if audit.blank:
        note = "No channel varies: nothing can be learnt from them."
        kinds.append(("Blank, of one colour", note, [one.found for one in audit.blank]))
    kinds += [(ODD_WORDS[odd.oddity], "", odd.images) for odd in audit.odd_images]
    wanted = [(place, one) for place, (_, _, all_) in enumerate(kinds) for one in all_[:SHOWN_ODD]]
    shown = shots_of([(one.image, (_labelled(one),)) for _, one in wanted], thumbnails, share=SHARE)
    return [
        Gallery(
            title=title,
            note=note,
            of=len(images),
            shots=tuple(s for (at, _), s in zip(wanted, shown) if at == place and s is not None),
        )
        for place, (title, note, images) in enumerate(kinds)
    ]


def copies_section(contents: Contents, thumbnails: Thumbnails) -> Section | Absent:
    """Identical files and look-alikes, those that contradict each other first."""
    audit = contents.audit
    title = "Copies and look-alikes"
    if audit is None:
        return Absent(title=title, reason="the folder has no audit.json that can be read")
    if not audit.duplicates and not audit.near_duplicates:
        return Absent(title=title, reason="the audit found no copies and no look-alikes")
    return Section(
        id="copies",
        title=title,
        template="copies.html",
        count=str(len(audit.duplicates) + len(audit.near_duplicates)),
        values={
            "kinds": [
                (
                    "Identical files, byte for byte",
                    audit.duplicates,
                    _groups(audit.duplicates, thumbnails),
                ),
                (
                    "Different files that look alike",
                    audit.near_duplicates,
                    _groups(audit.near_duplicates, thumbnails),
                ),
            ],
            "identical": len(audit.duplicates),
            "alike": len(audit.near_duplicates),
        },
    )


def _groups(groups: Sequence[DuplicateGroup], thumbnails: Thumbnails) -> list[Gallery]:
    ordered = sorted(groups, key=lambda one: (not one.across_labels, not one.across_splits))
    wanted = [
        (place, found)
        for place, one in enumerate(ordered[:SHOWN_GROUPS])
        for found in one.images[:SHOWN_IN_GROUP]
    ]
    shown = shots_of(
        [(one.image, (_labelled(one), one.split or "no split")) for _, one in wanted],
        thumbnails,
        share=SHARE,
    )
    return [
        Gallery(
            title=_contradiction(one),
            note="",
            of=len(one.images),
            shots=tuple(s for (at, _), s in zip(wanted, shown) if at == place and s is not None),
        )
        for place, one in enumerate(ordered[:SHOWN_GROUPS])
    ]


def _contradiction(group: DuplicateGroup) -> str:
    told = []
    if group.across_labels:
        told.append("different labels")
    if group.across_splits:
        told.append("different splits")
    return " and ".join(told) or "same label, same split"


def _labelled(found: FoundImage) -> str:
    return "no label" if found.label is None else f"labelled '{found.label}'"


def recipe_section(contents: Contents, _: Thumbnails) -> Section | Absent:
    """Every decision with its value, its reason and who made it."""
    recipe = contents.recipe
    if recipe is None:
        why = "a watched script has no recipe of ours"
        if contents.kind == "training":
            why = "recipe.yaml cannot be read"
        return Absent(title="Recipe", reason=why)
    now = contents.followed
    changed = {
        one.name: one
        for one in (() if now is None else now.decisions)
        if one not in recipe.decisions
    }

    def rows(decisions: Sequence[Decision]) -> list[dict[str, str]]:
        return [
            {
                "name": one.name,
                "value": show_value(one.value),
                "reason": one.reason,
                "origin": one.origin,
                "now": show_value(changed[one.name].value) if one.name in changed else "",
                "why_now": changed[one.name].reason if one.name in changed else "",
            }
            for one in decisions
        ]

    first = [
        one
        for one in recipe.decisions
        if one.name in TOLD_FIRST or one.origin in ("user", "measured") or one.name in changed
    ]
    rest = [one for one in recipe.decisions if one not in first]
    return Section(
        id="recipe",
        title="The recipe, and why",
        template="recipe.html",
        values={"first": rows(first), "rest": rows(rest), "changed": bool(changed)},
    )
