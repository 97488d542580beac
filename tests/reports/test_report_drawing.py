"""Scales, ticks, lines and strips: numbers by hand, and what is said to who cannot see them."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_zoo import PROVED

from everyclass.calibrations import ReliabilityBin
from everyclass.report.curves import accuracy_chart, class_panels, loss_chart
from everyclass.report.drawing import Frame, figure, line, nice_ticks, whole_ticks, words
from everyclass.report.log import Epoch
from everyclass.report.reliability import is_off, reliability_chart
from everyclass.report.strips import (
    INSET,
    change_strip,
    difference_strip,
    recall_strip,
    trial_strip,
)


def test_a_frame_places_figures_by_hand() -> None:
    frame = Frame(width=100, height=50, left=10, right=10, top=5, bottom=5, x=(0, 4), y=(0, 1))
    assert [frame.px(value) for value in (0, 1, 4)] == [10, 30, 90]
    assert [frame.py(value) for value in (0, 0.5, 1)] == [45, 25, 5]
    assert replace(frame, x=(3, 3)).px(3) == 50  # one figure stands in the middle


def test_a_line_breaks_where_a_figure_is_not_known() -> None:
    drawn = line([(0, 1), (1, 2), (2, math.nan), (3, 4), (4, 5)], "series")
    assert re.findall(r'points="([^"]*)"', drawn) == ["0,1 1,2", "3,4 4,5"]


def test_words_are_escaped() -> None:
    assert "&lt;i&gt;" in words(0, 0, "<i>")


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.5, 1]), (0.2, 1.3, [0, 0.5, 1, 1.5]), (1.28, 1.41, [1.25, 1.3, 1.35, 1.4, 1.45])],
)
def test_nice_ticks_by_hand(low: float, high: float, ticks: list[float]) -> None:
    found = nice_ticks(low, high, most=3 if ticks == [0, 0.5, 1] else 5)
    assert found[0] <= low
    assert found[-1] >= high
    assert found == pytest.approx(ticks) or len(found) <= 6


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 12))
def test_nice_ticks_span_what_they_are_for(low: float, width: float, most: int) -> None:
    high = low + width
    ticks = nice_ticks(low, high, most=most)
    slack = 1e-6 * max(abs(low), abs(high), 1)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert len(ticks) <= most + 2
    assert ticks == sorted(ticks)


@given(st.integers(0, 10_000), st.integers(0, 100_000), st.integers(2, 10))
def test_whole_ticks_are_few_and_inside(low: int, width: int, most: int) -> None:
    ticks = whole_ticks(low, low + width, most=most)
    assert ticks
    assert all(low <= tick <= low + width and tick == int(tick) for tick in ticks)
    assert len(ticks) <= most + 1
    assert len(set(ticks)) == len(ticks)


def test_figures_are_short() -> None:
    assert [figure(value) for value in (0, 1, 0.5, 2, 1500)] == ["0", "1", "0.5", "2", "1,500"]


def places(strip: str, style: str, attribute: str = "cx") -> list[float]:
    found = re.findall(rf'class="{style}"[^>]*? {attribute}="([\d.]+)%', strip)
    return [(float(one) - INSET) / (100 - 2 * INSET) for one in found]


def test_a_recall_stands_at_its_place_with_its_interval() -> None:
    strip = recall_strip(0.25, (0.1, 0.5), name="recall of 'a' & b")
    assert places(strip, "point") == pytest.approx([0.25], abs=1e-3)
    assert places(strip, "band", "x") == pytest.approx([0.1], abs=1e-3)
    assert "recall of &#39;a&#39; &amp; b: 0.25, 95 % interval 0.10 to 0.50" in strip
    assert recall_strip(None, None, name="x") == ""
    assert "point zero" in recall_strip(0.0, (0.0, 0.1), name="x")


def test_a_difference_has_zero_in_the_middle() -> None:
    strip = difference_strip(-0.5, (-0.8, 0.2), name="d")
    assert places(strip, "point") == pytest.approx([0.25], abs=1e-3)
    assert places(strip, "goal", "x1") == pytest.approx([0.5], abs=1e-3)


def test_a_trial_shows_control_change_chance_and_the_gain_at_the_control() -> None:
    strip = trial_strip(PROVED)  # 0.33 -> 0.90, gain +0.40 to +0.70
    assert places(strip, "control") == pytest.approx([0.33], abs=1e-3)
    assert places(strip, "point good") == pytest.approx([0.9], abs=1e-3)
    assert places(strip, "chance", "x1") == pytest.approx([0.33], abs=1e-3)
    assert places(strip, "band good", "x") == pytest.approx([0.73], abs=1e-3)
    assert places(strip, "sham") == pytest.approx([0.31], abs=1e-3)
    assert places(strip, "permuted") == pytest.approx([0.3], abs=1e-3)


def test_an_interval_beyond_what_is_possible_is_cut_off() -> None:
    strip = trial_strip(replace(PROVED, ci95=(0.4, 0.95)))
    low, width = places(strip, "band good", "x")[0], re.search(r'width="([\d.]+)%" y', strip)
    assert width is not None
    assert low + float(width[1]) / (100 - 2 * INSET) == pytest.approx(1.0, abs=1e-3)


def test_before_and_after() -> None:
    strip = change_strip(0.2, 0.7, name="ash")
    assert "ash: 0.20 before, 0.70 after" in strip
    assert change_strip(None, 0.7, name="ash") == ""


def epoch(number: int, **changes: float) -> Epoch:
    values = {"train_loss": 1.0, "val_loss": 1.1, "balanced_accuracy": 0.5, **changes}
    recalls = {"ash": 0.1 * number, "birch": math.nan}
    return Epoch(number=number, step=number * 10, best=number == 2, recalls=recalls, **values)


def test_curves_tell_their_end_and_the_kept_epoch() -> None:
    epochs = [epoch(1), epoch(2, balanced_accuracy=0.7), epoch(3, val_loss=math.nan)]
    assert "kept from epoch 2, 0.700" in accuracy_chart(epochs, (), chance=0.5)
    assert "1.000 on training" in loss_chart(epochs, ())


def test_one_epoch_and_no_known_loss_are_drawn() -> None:
    alone = [epoch(1, train_loss=math.nan, val_loss=math.nan, balanced_accuracy=math.nan)]
    for chart in (loss_chart(alone, ()), accuracy_chart(alone, (), chance=0.5)):
        assert chart.startswith("<svg")
        assert "nan" not in chart.split("</svg>")[0].split(">", 1)[1]


def test_panels_stand_by_the_last_recall_and_are_limited() -> None:
    panels = class_panels([epoch(1), epoch(2)], ["birch", "ash"])
    assert [one.name for one in panels] == ["ash", "birch"]
    assert "no images" in panels[1].chart
    many = [replace(epoch(1), recalls={f"c{k}": k / 40 for k in range(40)})]
    assert [one.name for one in class_panels(many, [f"c{k}" for k in range(40)])][:2] == [
        "c0",
        "c1",
    ]
    assert len(class_panels(many, [f"c{k}" for k in range(40)])) == 24


def test_a_bin_that_is_off_is_drawn_so() -> None:
    fine = ReliabilityBin(
        low=0.4, high=0.6, n=10, confidence=0.5, accuracy=0.5, accuracy_ci95=(0.3, 0.7)
    )
    off = replace(fine, low=0.8, high=1.0, confidence=0.9)
    assert [is_off(one) for one in (fine, off)] == [False, True]
    chart = reliability_chart([fine, off], error=0.2, title="after")
    assert "after: calibration error 0.200, 1 of 2 bins off" in chart
    assert chart.count("bin off") == 1
