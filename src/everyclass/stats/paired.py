"""Two classifiers on the same images: is one right more often, or is that chance?

Comes in: right or wrong of each, image by image. Goes out: exact p-values, overall and by class.
Reads no file.

Images that both get right, or both wrong, tell nothing of a difference. Of the others, each is as
likely to be one's as the other's where both are right equally often: their number is binomial with
one half. That is McNemar's test; by the binomial distribution itself it is exact for any number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everyclass.errors import InputError
from everyclass.stats.stratified import holm_adjusted


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """Two classifiers on the images of one class, or on all.

    Attributes:
        name: of the class; None for all images.
        n: images that both were judged on.
        first_only, second_only: images that this one alone gets right.
        p: of the exact test, two-sided; adjusted for nothing.
        adjusted_p: the same, adjusted for the looks that were taken together.
    """

    name: str | None
    n: int
    first_only: int
    second_only: int
    p: float
    adjusted_p: float

    @property
    def gain(self) -> float:
        """What the second has over the first: of the recall, or of the accuracy for all images."""
        return (self.second_only - self.first_only) / self.n

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "class": self.name,
            "n": self.n,
            "first_only": self.first_only,
            "second_only": self.second_only,
            "gain": self.gain,
            "p": self.p,
            "adjusted_p": self.adjusted_p,
        }


def mcnemar_exact(first_only: int, second_only: int) -> float:
    """p-value of McNemar's test, exact and two-sided.

    With n = first_only + second_only and X ~ Binomial(n, 1/2):
    p = min(1, 2 P(X <= min(first_only, second_only))).

    Args:
        first_only, second_only: images that one of the two alone gets right, each >= 0.
    Returns:
        In (0, 1]; 1 where both are 0.
    Raises:
        InputError: a negative number.
    Source: McNemar 1947, "Note on the sampling error of the difference between correlated
        proportions or percentages"; exact by the binomial, as the sign test.
    Example:
        >>> mcnemar_exact(1, 5)
        0.21875
    """
    if first_only < 0 or second_only < 0:
        raise InputError(f"{first_only} and {second_only} images: neither can be negative.")
    n, fewer = first_only + second_only, min(first_only, second_only)
    # Python's integers are exact, whatever n is; the sum of a large n would overflow a float.
    tail = term = 1
    for k in range(fewer):
        term = term * (n - k) // (k + 1)
        tail += term
    return min(1.0, math.exp(math.log(tail) + (1 - n) * math.log(2)))


def paired_tests(
    pairs: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]],
    *,
    classes: Sequence[str],
) -> tuple[tuple[PairedTest, ...], ...]:
    """For each pair the test on all images, then one on each class that has any.

    All tests are adjusted together by Holm's method: where nothing differs, the chance that any of
    them is below a level is at most the level.

    Args:
        pairs: for each (first right, second right, label), all (N,), N > 0; labels are ids of
            `classes`.
    Returns:
        A tuple a pair.
    """
    counted: list[list[tuple[str | None, int, int, int]]] = []
    for first, second, labels in pairs:
        of_pair = [_counts(None, first, second)]
        for k, of_class in enumerate(classes):
            rows = labels == k
            if rows.any():
                of_pair.append(_counts(of_class, first[rows], second[rows]))
        counted.append(of_pair)
    p = [mcnemar_exact(b, c) for of_pair in counted for _, _, b, c in of_pair]
    adjusted = iter(zip(p, holm_adjusted(p).tolist()))
    found = []
    for of_pair in counted:
        tests = []
        for name, n, first_only, second_only in of_pair:
            own, corrected = next(adjusted)
            tests.append(
                PairedTest(
                    name=name,
                    n=n,
                    first_only=first_only,
                    second_only=second_only,
                    p=own,
                    adjusted_p=corrected,
                )
            )
        found.append(tuple(tests))
    return tuple(found)


def _counts(
    name: str | None, first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> tuple[str | None, int, int, int]:
    return name, len(first), int((first & ~second).sum()), int((~first & second).sum())
