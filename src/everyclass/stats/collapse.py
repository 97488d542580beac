"""Is a classifier collapsed? The verdict from one confusion matrix, with its error rate.

Comes in: (C, C) counts and, where known, the training counts. Goes out: a verdict, the evidence,
one sentence. Knows no training run: `not-learning` and `diverged` need the losses and are never
given here.

Two questions are asked, each of which can be answered "too few images to tell":

1. Do the predictions carry (almost) no information about the labels? Then: `collapsed`.
2. Is a class never recognised that has images enough to say so? Then: `starved`.

*Enough images.* A class that is recognised at all has a recall of at least
`floor = max(1/C, 0.1)`: no worse than blind guessing, and not below one in ten, under which a class
is of no use however many classes there are. n images without a single hit then have probability at
most (1 - floor)^n. The smallest number of images m counts as enough for which these
probabilities, added up over the classes with m images or more, stay within `level`: so the chance
that *any* class of a classifier with recalls at or above the floor is called unrecognised is at
most `level`. Classes with many images use up almost nothing of it. (1 - 1/8)^23 = 0.046: at eight
classes, 23 images are enough if all other classes have many more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from everyclass.contracts import Verdict
from everyclass.errors import InputError
from everyclass.stats import confusion as figures
from everyclass.stats.intervals import balanced_accuracy_interval

LEAST_RECALL = 0.1
"""A class found less than once in ten times is not recognised, however many classes there are."""

LEAST_TRAIN_IMAGES = 5
"""With fewer images to learn from, nothing can be asked of a class, and the audit says so."""

INDEPENDENCE_LEVEL = 0.01
"""At a p-value above this, the predictions are not told from ones independent of the labels."""

LEAST_INFORMATION_SHARE = 0.01
"""Under a hundredth of the labels' entropy, an association is real perhaps, but of no use."""

LEAST_ADVANTAGE = 0.1
"""Part of the way from guessing to perfect that the images must be able to rule out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collapse:
    """What a confusion matrix says about collapse.

    Attributes:
        verdict: healthy, collapsed or starved.
        sentence: the reason, with its numbers.
        starved: ids of the classes at recall 0 with enough images to say so.
        undecided: ids of the classes at recall 0 with too few images to tell.
        information_share: bias-corrected mutual information over the entropy of the labels; can be
            slightly below 0; None when only one class has images.
        independence_p: p-value of independence of predictions and labels; None when there is but
            one class among labels or predictions.
    """

    verdict: Verdict
    sentence: str
    starved: tuple[int, ...]
    undecided: tuple[int, ...]
    information_share: float | None
    independence_p: float | None


def collapse_verdict(
    confusion: ArrayLike,
    train_counts: ArrayLike | None = None,
    *,
    classes: Sequence[str] = (),
    level: float = 0.05,
) -> Collapse:
    """The verdict on one confusion matrix.

    `collapsed` when
    - one class is predicted for every image, and enough images belong to other classes; or
    - the predictions cannot be told from ones that are independent of the labels (p > 0.01), or
      explain less than 1 % of the labels' entropy; and the images suffice to say so: the 95 %
      interval of the balanced accuracy ends less than a tenth of the way from guessing (1/K) to 1.

    `starved` when a class with enough images, and at least five to train on, has recall 0. That it
    may be predicted for images of *other* classes changes nothing: counting predicted classes
    misses the class that is always predicted in the wrong place.

    Args:
        confusion: (C, C), row = target, column = prediction.
        train_counts: (C,) images that each class was trained on; None when not known.
        classes: (C,) names for the sentence; ids when left out.
        level: in (0, 1): for each of "starved" and "collapsed into one class", the probability
            that it is said of a classifier whose recalls are all at the floor or above.
    Raises:
        InputError: shapes do not match, or level outside (0, 1).
    """
    support = figures.support(confusion)
    names = tuple(classes) or tuple(f"class {i}" for i in range(support.size))
    train = None if train_counts is None else np.asarray(train_counts)
    if len(names) != support.size or (train is not None and train.shape != support.shape):
        raise InputError(f"class names and training counts must have length {support.size}.")
    if not 0 < level < 1:
        raise InputError(f"level is {level}, outside (0, 1).")
    starved, undecided = _unrecognised(confusion, train, level)
    share, p_value = information_share(confusion), independence_p_value(confusion)
    reason = _one_class(confusion, names, level) or _no_information(confusion, share, p_value)
    verdict: Verdict = "collapsed" if reason else "starved" if starved else "healthy"
    if verdict == "starved":
        reason = _starved_sentence(confusion, starved, names)
        if undecided:
            reason += f" Too few images to judge {_unjudged(support, train, undecided, names)}."
    elif verdict == "healthy":
        reason = _healthy_sentence(confusion, train, undecided, p_value, names)
    return Collapse(
        verdict=verdict,
        sentence=reason,
        starved=starved,
        undecided=undecided,
        information_share=share,
        independence_p=p_value,
    )


def recall_floor(n_classes: int) -> float:
    """The recall under which a class does not count as recognised, in [0.1, 1]."""
    return max(1 / n_classes, LEAST_RECALL)


def enough_images(support: ArrayLike, *, level: float = 0.05) -> int:
    """The smallest number of images from which a recall of 0 is evidence (module docstring).

    Args:
        support: (C,) images of each class.
        level: the chance of a false alarm, over all classes together.
    Returns:
        At least 1; 1 when every class has enough. Depends on the support only, never on what was
        predicted, as it must.
    """
    counts = np.asarray(support)
    miss = 1 - recall_floor(counts.size)
    least = 1
    # Ends: the sum falls with every step, and is 0 beyond the largest class.
    while np.sum(miss ** counts[counts >= least].astype(np.float64)) > level:
        least += 1
    return least


def _unrecognised(
    confusion: ArrayLike, train: NDArray[np.int64] | None, level: float
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    support = figures.support(confusion)
    at_zero = (support > 0) & (np.asarray(confusion).diagonal() == 0)
    enough = support >= enough_images(support, level=level)
    if train is not None:
        enough &= train >= LEAST_TRAIN_IMAGES
    starved, undecided = np.flatnonzero(at_zero & enough), np.flatnonzero(at_zero & ~enough)
    return tuple(starved.tolist()), tuple(undecided.tolist())


def information_share(confusion: ArrayLike) -> float | None:
    """Bias-corrected mutual information over the entropy of the labels; None for one class."""
    support = figures.support(confusion)
    if np.count_nonzero(support) < 2:
        return None
    return figures.mutual_information(confusion) / figures.label_entropy(confusion)


def independence_p_value(confusion: ArrayLike) -> float | None:
    """p-value of "predictions are independent of labels", good for sparse tables too.

    Pearson's X^2 = sum (n_ij - e_ij)^2 / e_ij. Its usual reference, chi-square with
    (R - 1)(K - 1) degrees of freedom, needs five expected images a cell: not given with many
    classes or few images. But over all ways to shuffle the predictions, its mean and variance are
    known exactly, and a gamma distribution with these two moments takes the reference's place
    (its tail by the cube-root transformation of Wilson and Hilferty).

    Returns:
        In [0, 1]; None with fewer than two classes among the targets or the predictions, or fewer
        than four images.
    Source: moments by Haldane 1940, as given by Zelterman 1987, "Goodness-of-fit tests for large
        sparse multinomial distributions".
    """
    matrix = np.asarray(confusion)
    rows, columns = (matrix.sum(axis=axis, dtype=np.float64) for axis in (1, 0))
    targets, predictions = np.nonzero(matrix)  # cells without a count add nothing
    squares = matrix[targets, predictions].astype(np.float64) ** 2
    scaled = float(np.sum(squares / (rows[targets] * columns[predictions])))
    rows, columns = rows[rows > 0], columns[columns > 0]
    n_rows, n_columns, total = len(rows), len(columns), float(rows.sum())
    if min(n_rows, n_columns) < 2 or total < 4:
        return None
    statistic = total * (scaled - 1)
    mean = total * (n_rows - 1) * (n_columns - 1) / (total - 1)
    variance = _shuffled_variance(rows, columns, total)
    if variance <= 0:  # every shuffle gives the same table statistic: nothing can be told
        return 1.0
    freedom = 2 * mean**2 / variance
    spread = 2 / (9 * freedom)
    z = (max(statistic / mean, 0.0) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return NormalDist().cdf(-z)


def _shuffled_variance(
    rows: NDArray[np.float64], columns: NDArray[np.float64], total: float
) -> float:
    def parts(margin: NDArray[np.float64]) -> tuple[float, float]:
        size = margin.size
        even = (size - 1) * (total - size) / (total - 1)
        uneven = (total * float(np.sum(1 / margin)) - size**2) / (total - 2)
        return even, uneven

    (even_rows, uneven_rows), (even_columns, uneven_columns) = parts(rows), parts(columns)
    together = (even_rows - uneven_rows) * (even_columns - uneven_columns)
    return (
        2 * total / (total - 3) * together + total**2 / (total - 1) * uneven_rows * uneven_columns
    )


def _one_class(confusion: ArrayLike, names: Sequence[str], level: float) -> str:
    """The sentence when one class is predicted for all and that is evidence, else ""."""
    support, predicted = figures.support(confusion), figures.predicted_counts(confusion)
    if np.count_nonzero(predicted) != 1:
        return ""
    only = int(predicted.argmax())
    others = support.sum() - support
    # Any class could have been the one; added up as for the single classes (module docstring).
    as_sure = others[others >= others[only]].astype(np.float64)
    miss = 1 - recall_floor(support.size)
    if others[only] == 0 or np.sum(miss**as_sure) > level:
        return ""
    return (
        f"Every one of {int(support.sum()):,} images was given class '{names[only]}', although "
        f"{int(others[only]):,} belong to other classes: the predictions tell nothing about the "
        "labels."
    )


def _no_information(confusion: ArrayLike, share: float | None, p_value: float | None) -> str:
    """The sentence when predictions vary but tell (almost) nothing and that is sure, else ""."""
    if share is None or p_value is None:
        return ""
    if p_value <= INDEPENDENCE_LEVEL and share >= LEAST_INFORMATION_SHARE:
        return ""
    guessing = 1 / int(np.count_nonzero(figures.support(confusion)))
    _, high = balanced_accuracy_interval(confusion)
    if high >= guessing + LEAST_ADVANTAGE * (1 - guessing):
        return ""
    return (
        f"The predictions explain {100 * max(share, 0):.1f} % of the entropy of the labels "
        f"(independence: p = {p_value:.2g}), and balanced accuracy is at most {high:.3f} where "
        f"guessing gives {guessing:.3f}."
    )


def _starved_sentence(confusion: ArrayLike, starved: tuple[int, ...], names: Sequence[str]) -> str:
    support, predicted = figures.support(confusion), figures.predicted_counts(confusion)
    parts = []
    for i in starved[:5]:
        how = (
            f"predicted {predicted[i]:,} times, always wrongly"
            if predicted[i]
            else "never predicted"
        )
        parts.append(f"'{names[i]}' (0 of {support[i]:,} images; {how})")
    more = f" and {len(starved) - 5} more" if len(starved) > 5 else ""
    noun = "class is" if len(starved) == 1 else "classes are"
    return f"{len(starved)} {noun} never recognised: {', '.join(parts)}{more}."


def _healthy_sentence(
    confusion: ArrayLike,
    train: NDArray[np.int64] | None,
    undecided: tuple[int, ...],
    p_value: float | None,
    names: Sequence[str],
) -> str:
    support, recalls = figures.support(confusion), figures.recall(confusion)
    if np.count_nonzero(support) < 2:
        return "Only one class has images here: whether the predictions carry information is open."
    doubt = ""
    if p_value is None or p_value > INDEPENDENCE_LEVEL:
        doubt = f" {int(support.sum()):,} images are too few to tell the predictions from guessing."
    if not undecided:
        # "Recognised" may mean one image in a hundred; the lowest recall says how far it goes.
        worst = int(np.nanargmin(recalls))
        hits = int(np.asarray(confusion)[worst, worst])
        return (
            f"Every class with images here is recognised, '{names[worst]}' least: {hits:,} of "
            f"{support[worst]:,} images.{doubt}"
        )
    unjudged = _unjudged(support, train, undecided, names)
    return f"No alarm, but too few images to judge {unjudged}.{doubt}"


def _unjudged(
    support: NDArray[np.int64],
    train: NDArray[np.int64] | None,
    undecided: tuple[int, ...],
    names: Sequence[str],
) -> str:
    parts = []
    for i in undecided[:5]:
        few = train is not None and train[i] < LEAST_TRAIN_IMAGES
        learned = f", {train[i]} to learn from" if train is not None and few else ""
        parts.append(f"'{names[i]}' (0 of {support[i]:,}{learned})")
    more = f" and {len(undecided) - 5} more" if len(undecided) > 5 else ""
    return f"{', '.join(parts)}{more}"
