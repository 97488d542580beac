"""The reliability diagram as a picture: confidence against accuracy, before and after temperature.

Comes in: an Evaluation. Goes out: the bytes of a PNG. Draws on a canvas of its own: what a
notebook has set up in pyplot stays as it is.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from everyclass.calibrations import ReliabilityBin
from everyclass.contracts import Evaluation

OTHER_FREQUENCIES = 0.1
"""Total variation from which the classes of the images count as differently frequent."""

_BLUE, _GREY, _RED = "#2b6cb0", "#8a8f98", "#c0392b"


def reliability_png(evaluation: Evaluation) -> bytes:
    """One panel at temperature 1 and one at the fitted temperature; one alone where that is 1.

    Each bin's accuracy stands at its mean confidence, with its 95 % interval; below, the number of
    images in each bin. On the diagonal probabilities keep what they promise.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [(evaluation.reliability, evaluation.ece, f"temperature {evaluation.temperature:.2f}")]
    if evaluation.temperature != 1:
        before = evaluation.reliability_before_temperature
        panels.insert(0, (before, evaluation.ece_before_temperature, "before: temperature 1"))
        panels[1] = (*panels[1][:2], f"after: {panels[1][2]}")
    figure = Figure(figsize=(4.2 * len(panels) + 0.8, 6.4), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        2,
        len(panels),
        squeeze=False,
        sharex=True,
        sharey="row",
        gridspec_kw={"height_ratios": (4, 1)},
    )
    for column, (bins, error, title) in enumerate(panels):
        _draw_accuracy(axes[0, column], bins)
        _draw_counts(axes[1, column], bins)
        axes[0, column].set_title(f"{title}\ncalibration error {error:.3f}", fontsize=11)
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("images")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=len(panels) + 1, fontsize=9, frameon=False
    )
    figure.suptitle(
        f"{evaluation.split}: {evaluation.n:,} images, {evaluation.decision} decision\n"
        f"{_assumed(evaluation)}",
        fontsize=12,
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _assumed(evaluation: Evaluation) -> str:
    """Which class frequencies the probabilities are for: with others, gaps are no fault."""
    told = "probabilities for the class frequencies of training"
    shares = [one.n / evaluation.n for one in evaluation.classes]
    apart = sum(abs(share - prior) for share, prior in zip(shares, evaluation.prior)) / 2
    return f"{told}; these images have others" if apart > OTHER_FREQUENCIES else told


def _draw_accuracy(axes: Any, bins: Sequence[ReliabilityBin]) -> None:
    axes.plot((0, 1), (0, 1), color=_GREY, linestyle="--", linewidth=1, label="perfect calibration")
    for missed, colour, label in (
        (False, _BLUE, "accuracy in the bin, 95 %"),
        (True, _RED, "further off than chance explains"),
    ):
        chosen = [one for one in bins if missed == _is_missed(one)]
        axes.bar(
            [one.low for one in chosen],
            [one.accuracy for one in chosen],
            width=[one.high - one.low for one in chosen],
            align="edge",
            color=colour,
            alpha=0.18,
            edgecolor="white",
            linewidth=1,
        )
        lows = [one.accuracy - one.accuracy_ci95[0] for one in chosen]
        highs = [one.accuracy_ci95[1] - one.accuracy for one in chosen]
        axes.errorbar(
            [one.confidence for one in chosen],
            [one.accuracy for one in chosen],
            yerr=[lows, highs],
            fmt="o",
            markersize=5,
            color=colour,
            elinewidth=1.2,
            capsize=2.5,
            label=label,
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    _quiet_frame(axes)


def _is_missed(one: ReliabilityBin) -> bool:
    low, high = one.accuracy_ci95
    return not low <= one.confidence <= high


def _draw_counts(axes: Any, bins: Sequence[ReliabilityBin]) -> None:
    axes.bar(
        [one.low for one in bins],
        [one.n for one in bins],
        width=[one.high - one.low for one in bins],
        align="edge",
        color=_GREY,
        edgecolor="white",
        linewidth=1,
    )
    axes.set_xlabel("confidence (probability given to the answer)")
    _quiet_frame(axes)


def _quiet_frame(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e8eb", linewidth=0.8)
    axes.set_axisbelow(True)
