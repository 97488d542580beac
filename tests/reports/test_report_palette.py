"""Contrast, computed for both schemes, of every pair of colours that meets in the page."""

from __future__ import annotations

import re

import pytest

from everyclass.report.page import TEMPLATES
from everyclass.report.palette import (
    DARK,
    GROUNDS,
    LEVELS,
    LIGHT,
    MARKS,
    RAMPS,
    TEXT,
    Scheme,
    contrast,
    mixed,
    with_ramps,
)

SCHEMES = pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])


def test_contrast_by_hand() -> None:
    # Luminance 1 and 0: (1 + 0.05) / (0 + 0.05) = 21. Middle grey #777777: 119/255 = 0.4667,
    # ((0.4667 + 0.055) / 1.055) ** 2.4 = 0.1845; 1.05 / 0.2345 = 4.478.
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=0.001)
    assert contrast("#777777", "#777777") == 1


def test_mixed_by_hand() -> None:
    assert mixed("#000000", "#ff8040", 0.5) == "#804020"
    assert mixed("#102030", "#ffffff", 0.0) == "#102030"


@SCHEMES
@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("colour", TEXT)
def test_words_are_read_on_every_ground(scheme: Scheme, colour: str, ground: str) -> None:
    assert contrast(scheme[colour], scheme[ground]) >= 4.5


@SCHEMES
@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("colour", MARKS)
def test_marks_stand_out_on_every_ground(scheme: Scheme, colour: str, ground: str) -> None:
    assert contrast(scheme[colour], scheme[ground]) >= 3


@SCHEMES
def test_words_on_a_filled_ground(scheme: Scheme) -> None:
    assert contrast(scheme["on-accent"], scheme["accent"]) >= 4.5
    for flag in ("bad", "note", "warn"):  # the number on an alarm of the time line
        assert contrast(scheme["surface"], scheme[flag]) >= 4.5


@SCHEMES
@pytest.mark.parametrize("ramp", RAMPS)
@pytest.mark.parametrize("level", range(1, len(LEVELS) + 1))
def test_figures_are_read_in_every_cell(scheme: Scheme, ramp: str, level: int) -> None:
    colours = with_ramps(scheme)
    assert contrast(colours[f"{ramp}-{level}"], colours[f"{ramp}-{level}-ink"]) >= 4.5


@SCHEMES
def test_the_style_sheet_uses_colours_that_there_are(scheme: Scheme) -> None:
    style = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    used = set(re.findall(r"var\(--([a-z0-9-]+)\)", style)) - {"share"}
    assert used <= set(with_ramps(scheme))
    assert not re.search(r"#[0-9a-f]{3,6}\b", style), "a colour beside the palette"


def test_both_schemes_name_the_same_colours() -> None:
    assert LIGHT.keys() == DARK.keys()
