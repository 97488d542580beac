"""What an epoch leaves in the log."""

from __future__ import annotations

import json
import math

from everyclass.workflows.epoch import metrics_line
from everyclass.workflows.events import EpochDone


def test_a_loss_that_is_no_number_is_null() -> None:
    event = EpochDone(
        step=85,
        epoch=4,
        epochs=5,
        train_loss=171.7,
        val_loss=math.nan,
        accuracy=0.3,
        balanced_accuracy=0.33,
        macro_f1=0.2,
        recalls=(1.0, math.nan),
        predicted_shares=(1.0, 0.0),
        best=False,
        images_per_second=10.0,
        seconds=1.0,
    )
    line = json.loads(json.dumps(metrics_line(event, ("ash", "birch"), 0.1), allow_nan=False))
    assert (line["train_loss"], line["val_loss"]) == (171.7, None)
    assert line["recall"] == {"ash": 1.0, "birch": None}
