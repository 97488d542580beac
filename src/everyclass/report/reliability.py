"""Confidence against accuracy: the reliability diagram. Comes in: bins. Goes out: a chart."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from everyclass.calibrations import ReliabilityBin
from everyclass.report.drawing import Frame, axes, dot, picture, rectangle, segment

_SHARES = (0, 0.2, 0.4, 0.6, 0.8, 1)
_COUNTS_HEIGHT = 46.0


def is_off(one: ReliabilityBin) -> bool:
    """Whether the confidence lies outside the interval of the accuracy: more than chance."""
    low, high = one.accuracy_ci95
    return not low <= one.confidence <= high


def reliability_chart(bins: Sequence[ReliabilityBin], *, error: float, title: str) -> Markup:
    """Each bin's accuracy at its mean confidence, with its 95 % interval; below, the images of each
    bin. On the diagonal probabilities keep what they promise.
    """
    frame = Frame(height=360, top=24, bottom=96, x=(0, 1), y=(0, 1))
    parts = [
        axes(frame, x_ticks=_SHARES, y_ticks=_SHARES, x_name="", y_name="accuracy"),
        segment(frame.px(0), frame.py(0), frame.px(1), frame.py(1), "dashed"),
    ]
    most = max((one.n for one in bins), default=1)
    base = frame.height - 22
    for one in bins:
        style = "off" if is_off(one) else "fine"
        low, high = one.accuracy_ci95
        told = (
            f"confidence {one.low:.2f} to {one.high:.2f}: {one.n:,} images, mean confidence "
            f"{one.confidence:.2f}, accuracy {one.accuracy:.2f} ({low:.2f} to {high:.2f})"
        )
        left, right = frame.px(one.low) + 1, frame.px(one.high) - 1
        top = frame.py(one.accuracy)
        parts.append(
            rectangle(left, top, right - left, frame.py(0) - top, f"bin {style}", told=told)
        )
        x = frame.px(one.confidence)
        parts.append(segment(x, frame.py(low), x, frame.py(high), f"whisker {style}"))
        parts.append(dot(x, top, f"dot {style}", told=told, radius=4))
        tall = _COUNTS_HEIGHT * one.n / most
        parts.append(rectangle(left, base - tall, right - left, tall, "count", told=told))
    parts.append(
        Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            200, frame.height - 5, "confidence; bars: images in each bin"
        )
    )
    off = sum(is_off(one) for one in bins)
    words = f"{title}: calibration error {error:.3f}, {off} of {len(bins)} bins off"
    return picture(frame, words, parts)
