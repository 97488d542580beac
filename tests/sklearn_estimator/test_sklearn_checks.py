"""scikit-learn's own checks of an estimator, all that it has for classifiers: none is expected to
fail. The tag `poor_score` leaves out the accuracy on blobs of two numbers, which are no images."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from everyclass.sklearn import EveryclassClassifier


@parametrize_with_checks(
    [
        EveryclassClassifier(
            "test_resnet",
            epochs=1,
            image_size=8,
            max_repairs=None,
            device="cpu",
            threads=1,
            random_state=0,
        )
    ]
)
def test_check(estimator: EveryclassClassifier, check: Callable[[Any], None]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)
