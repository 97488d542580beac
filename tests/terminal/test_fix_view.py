"""A patched copy as a user reads it."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from everyclass.terminal.fix import difference_text, fix_view, patch_view
from everyclass.workflows.fix_script import Fix, Patched, Seen

LONG = "+" + "x = " + "1 + " * 40 + "1"

PATCHED = Patched(
    copy=Path("own/train.fixed.py"),
    causes=("inputs-not-scaled",),
    sentences=("Net.forward standardises its inputs.",),
    difference=f"--- train.py\n+++ train.fixed.py\n@@ -1 +1,2 @@\n a\n{LONG}\n",
    refused=("poor-initialisation is proved (BatchNorm added): no edit.",),
)
BEFORE = Seen(
    ended="finished",
    verdict="collapsed",
    step=1280,
    phase="opening",
    judged_on="last evaluation",
    balanced_accuracy=0.25,
    lowest_recall=0.0,
    lowest_class="ship",
    predicted=1,
    classes=4,
)


def after(verdict: str | None, phase: str, ended: str = "finished") -> Seen:
    return Seen(
        ended=ended,
        verdict=verdict,
        step=1280,
        phase=phase,
        judged_on="last evaluation",
        balanced_accuracy=0.934,
        lowest_recall=0.8,
        lowest_class="frog",
        predicted=4,
        classes=4,
    )


def shown(view: object) -> str:
    console = Console(width=80, file=io.StringIO())
    console.print(view)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_diff_can_be_copied_as_it_is() -> None:
    assert difference_text(PATCHED).plain == PATCHED.difference.rstrip()
    text = shown(patch_view(PATCHED))
    assert "proved: inputs-not-scaled" in text
    assert "poor-initialisation is proved" in text


def test_without_a_copy_it_says_why_and_what_to_do() -> None:
    text = shown(patch_view(Patched(refused=("No cause was proved.",), remedies=("Do it.",))))
    assert "No copy was written." in text
    assert "No cause was proved." in text
    assert "by hand: Do it." in text


@pytest.mark.parametrize(
    ("seen", "conclusion"),
    [
        (after("healthy", "learned"), "train.fixed.py trains."),
        (after("healthy", "opening"), "train.fixed.py trains."),
        (after("collapsed", "opening"), "train.fixed.py is collapsed too"),
        (after(None, "", "ValueError: x"), "nothing of it was watched: ValueError: x"),
    ],
)
def test_the_conclusion_is_no_more_than_what_was_seen(seen: Seen, conclusion: str) -> None:
    text = " ".join(
        shown(fix_view(Fix(patched=PATCHED, before=BEFORE, after=seen))).replace("│", " ").split()
    )
    assert conclusion in text
    assert "balanced accuracy 0.25 0.93" in text
    assert "0.00 ('ship')" in text
    assert "1 of 4 4 of 4" in text


def test_a_copy_at_chance_without_an_alarm_is_not_praised() -> None:
    seen = replace(after("healthy", "opening"), balanced_accuracy=0.3)
    text = " ".join(shown(fix_view(Fix(patched=PATCHED, before=BEFORE, after=seen))).split())
    assert "was not seen to learn" in text
    assert "no alarm" in text


def test_every_line_of_the_frames_fits() -> None:
    fix = Fix(patched=PATCHED, before=BEFORE, after=after("diverged", "opening", "x" * 200))
    assert max(map(len, shown(fix_view(fix)).splitlines())) <= 80
