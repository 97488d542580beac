"""The calibration scores of a run, and the thresholds of prediction sets that come from them.

Comes in: a run, its model, logits of its validation images. Goes out: `conformal.json`, or
thresholds for a coverage. The mathematics is in `stats.conformal`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from everyclass.errors import InputError
from everyclass.models.file import SavedModel
from everyclass.run_folder import RunFolder
from everyclass.stats.conformal import (
    CalibrationScores,
    ConformalThresholds,
    calibration_scores,
    conformal_thresholds,
)

DEFAULT_COVERAGE = 0.9
"""What an evaluation looks at unless another coverage is asked for."""


def write_scores(
    run: RunFolder,
    model: SavedModel,
    logits: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
) -> CalibrationScores:
    """Keep what the validation images say of the probabilities.

    Args:
        logits: (N, C) of all validation images, each once: a sampler has no part in them.
        targets: (N,) class ids.
    """
    scores = calibration_scores(
        model.decision.even_probabilities(logits), targets, classes=model.classes
    )
    run.write_json(run.conformal, scores.to_dict())
    return scores


def read_thresholds(
    run: RunFolder, model: SavedModel, coverage: float | None
) -> ConformalThresholds | None:
    """The thresholds of a run's prediction sets.

    Args:
        coverage: of each class's images; None asks for the default, and takes None for an answer
            where the run has no scores.
    Raises:
        InputError: a coverage outside (0, 1); a run of an earlier version; scores that are damaged
            or of another model.
    """
    if not run.conformal.exists():
        if coverage is None:
            return None
        raise InputError(
            f"{run.path} has no {run.conformal.name}: it was trained by a version that kept no "
            "calibration scores for prediction sets.",
            remedy="Train again with another --out, or leave --coverage away.",
        )
    scores = CalibrationScores.from_dict(run.read_json(run.conformal), where=str(run.conformal))
    if scores.classes != model.classes:
        raise InputError(
            f"{run.conformal} is of another model: its classes are not those of model.json.",
            remedy="Both files must come from the same run.",
        )
    return conformal_thresholds(scores, coverage=DEFAULT_COVERAGE if coverage is None else coverage)
