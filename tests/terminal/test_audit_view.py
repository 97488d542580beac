"""The audit in a terminal: complete, inside the width, and no name is taken for markup."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from everyclass.images.audit_values import (
    Audit,
    AuditWarning,
    ImageSizes,
    LabelOrder,
    PixelKind,
    SplitFacts,
    Spread,
)
from everyclass.images.table import SetAside
from everyclass.terminal.audit import SHOWN_CLASSES, audit_view

COLOUR = (0.5, 0.25, 0.125)


def split(name: str, counts: tuple[int, ...]) -> SplitFacts:
    return SplitFacts(
        split=name, n=sum(counts), counts=counts, n_pixels=64 * sum(counts), mean=COLOUR, std=COLOUR
    )


def kind(mode: str, n: int) -> PixelKind:
    return PixelKind(format="PNG", mode=mode, bit_depth=8, n=n, blank=0, low=3, high=250)


AUDIT = Audit(
    source="cells.csv",
    side=64,
    classes=("[red]x[/]", "birch"),
    n=1100,
    splits=(split("train", (800, 100)), split("val", (200, 0))),
    unlabelled=0,
    imbalance_ratio=8.0,
    effective_classes=1.4,
    mean=COLOUR,
    std=COLOUR,
    sizes=ImageSizes(
        width=Spread(low=100, median=200, high=3000),
        height=Spread(low=100, median=150, high=2000),
        distinct=7,
        common=((200, 150, 900), (100, 100, 200)),
        smaller=0,
    ),
    kinds=(kind("RGB", 1000), kind("L", 100)),
    reduced=0,
    unreadable=tuple(
        SetAside(image=f"images/[b]{i}.png", label=None, reason="truncated PNG: cut")
        for i in range(7)
    ),
    set_aside=(),
    blank=(),
    duplicates=(),
    straddling=(),
    label_order=LabelOrder(alike=0.5, alike_if_shuffled=0.5),
    warnings=(
        AuditWarning(
            id="a", harm="invalid", sentence="A [i]leak[/i].", remedy="Stop it.", evidence={"n": 1}
        ),
        AuditWarning(
            id="b", harm="notable", sentence="A note.", remedy="Read it.", evidence={"n": 1}
        ),
    ),
    meaning=("It means this.",),
    notes=("The label column was guessed: 'diagnosis'.",),
)


def shown(audit: Audit, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(audit_view(audit))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width):
    for line in shown(AUDIT, width).splitlines():
        assert cell_len(line) <= width


def test_everything_is_there_and_nothing_is_taken_for_markup():
    text = shown(AUDIT)
    for words in (
        "cells.csv  ·  1,100 images  ·  2 classes  ·  imbalance ratio 8",
        "[red]x[/]",
        "90.9%",
        "The label column was guessed: 'diagnosis'.",
        "width 100 to 3,000 (median 200), height 100 to 2,000 (median 150) px",
        "7 sizes; most frequent 200 x 150 (900), 100 x 100 (200)",
        "PNG RGB, 8 bits (1,000); PNG L, 8 bits (100)",
        "3 to 250",
        "0.5000 0.2500 0.1250   of train, at 64 x 64 px",
        "Left out: 7 images",
        "images/[b]4.png",
        "2 more: --json FILE lists all",
        "2 warnings: 1 invalid, 1 notable",
        "A [i]leak[/i].",
        "→ Stop it.",
        "It means this.",
    ):
        assert words in text, words
    assert "images/[b]5.png" not in text


def test_bars_are_proportional_and_a_class_without_images_is_zero():
    lines = shown(AUDIT, 120).splitlines()
    full, small = (line.count("█") for line in lines if "x[/]" in line or "birch" in line)
    assert full > 40
    assert small == full // 10
    assert next(line for line in lines if "birch" in line).split()[-1] == "0"


def test_of_many_classes_the_largest_and_the_smallest_are_shown():
    n = 100
    classes = tuple(f"class{i:03d}" for i in range(n))
    counts = tuple(range(n, 0, -1))
    text = shown(replace(AUDIT, classes=classes, splits=(split("train", counts),)))
    assert f"{n - SHOWN_CLASSES} classes between" in text
    assert text.count("class0") == SHOWN_CLASSES
    assert text.index("class000") < text.index("classes between") < text.index("class099")


def test_without_labels_warnings_or_losses_those_parts_are_absent():
    bare = replace(
        AUDIT,
        classes=(),
        splits=(replace(split("", ()), n=1100),),
        imbalance_ratio=None,
        effective_classes=None,
        unreadable=(),
        warnings=(),
        notes=(),
        kinds=AUDIT.kinds[:1],
    )
    text = shown(bare)
    assert "No warnings" in text
    assert "stored as  PNG RGB, 8 bits\n" in "\n".join(line.rstrip() for line in text.splitlines())
    assert "of all images, at 64 x 64 px" in text
    for words in ("class", "Left out", "How it was read"):
        assert words not in text
