"""The reliability diagram: a picture for one temperature or two, and whatever the bins hold."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from everyclass.contracts import Evaluation
from everyclass.stats.calibration import softmax
from everyclass.stats.evaluation import evaluate_predictions
from everyclass.workflows.reliability_figure import reliability_png


def evaluated(n: int, *, temperature: float) -> Evaluation:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, size=(n, 3))
    return evaluate_predictions(
        (logits + rng.gumbel(size=logits.shape)).argmax(axis=1),
        logits.argmax(axis=1),
        probs=softmax(logits),
        probs_before_temperature=softmax(logits * temperature),
        classes=("a", "b", "c"),
        split="test",
        decision="natural",
        prior=(0.8, 0.1, 0.1),
        temperature=temperature,
    )


@pytest.mark.parametrize("n", [1, 300])
def test_two_temperatures_are_two_panels_and_one_is_one(n: int) -> None:
    widths = []
    for temperature in (1.0, 3.0):
        png = reliability_png(evaluated(n, temperature=temperature))
        with Image.open(io.BytesIO(png)) as picture:
            widths.append(picture.width)
            pixels = np.asarray(picture.convert("RGB"), dtype=int)
        # Blue or red marks of the bins are there.
        assert (abs(pixels[..., 0] - pixels[..., 2]) > 60).any()
    assert widths[1] > 1.5 * widths[0]


def test_pyplot_is_left_alone() -> None:
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    reliability_png(evaluated(50, temperature=2.0))
    assert plt.get_fignums() == before
