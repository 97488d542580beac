"""The order in which labels come. Cause: stream-sorted.

The test is of exchangeability: whether the labels might have come in any other order as well.
Shuffling, with or without replacement, satisfies it; a sampler that evens out each batch departs
from it on the other side, to which the test is blind on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, passed
from everyclass.diagnosis.material import Material
from everyclass.stats.sequential import Detector

Counts = NDArray[np.int64]

LEVEL = 1e-3
"""False alarms of the test on shuffled streams, per training."""

LEAST_EXCESS = 0.25
"""Share of the way from a shuffled stream to one-class batches at which the order is accused.
Repeated augmentation (each image three times in a batch) and samplers that put four of each class
in a batch depart from exchangeability too, by 0.1 or less.
"""

LEAST_LABELS = 8  # of a window: a batch of one image has no composition
MOST_WINDOWS = 256
DRAWS = 399
ONE_CLASS_LABELS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTest:
    """What the test of a stream came to.

    Attributes:
        wealth: largest evidence; the level a is reached at 1/a.
        excess: share of label pairs within a batch that are of one class, on a scale from 0 (as in
            the whole stream) to 1 (always). Below 0 when batches are evened out.
        windows: batches looked at (small ones joined).
        labels: in all.
        one_class_windows: windows that hold a single class.
    """

    wealth: float
    excess: float
    windows: int
    labels: int
    one_class_windows: int

    @property
    def is_sorted(self) -> bool:
        """Evidence beyond the level, and of a size that matters."""
        return self.wealth >= 1 / LEVEL and self.excess >= LEAST_EXCESS


def stream_test(
    label_counts: Sequence[Sequence[int]], *, draws: int = DRAWS, seed: int = 0
) -> StreamTest:
    """Test, valid at every stopping time, of "the labels came in exchangeable order".

    Let b_t be the counts of window t and S_t = b_1 + ... + b_t. If the order is exchangeable, then
    given S_t (and all that comes later) b_t is a uniformly drawn part of S_t: multivariate
    hypergeometric, whatever the class frequencies are. The statistic is A(b) = sum_c b_c (b_c - 1),
    ordered pairs of one class; its rank among `draws` simulated b*, ties broken at random, gives a
    p-value p_t that is exactly uniform, and independent of the earlier ones: p_t does not depend on
    S_t, and p_1, ..., p_{t-1} are functions of how S_{t-1} is arranged (Vovk, Gammerman and Shafer
    2005, "Algorithmic learning in a random world", chapter 8; conformal test martingales).

    Each is bet on with f(p) = (1 - p + p ln p) / (p ln(p)^2), the mixture of k p^(k-1) over k in
    [0, 1], which has mean 1 under uniform p and pays where p is small: where a batch holds more of
    one class than a part of S_t would. A sorted file gives no evidence until its second class
    begins, so the bets go into a `Detector`, whose evidence may begin at any step: wealth 1/a has
    probability at most a over the whole stream.

    Args:
        label_counts: (batches, C), labels of each batch in order.
        draws: simulated parts a window.
        seed: of the simulation and of the ties.
    """
    windows = _windows(label_counts)
    rng = np.random.default_rng(seed)
    detector = Detector()
    total = np.zeros(windows.shape[1], dtype=np.int64)
    for t, counts in enumerate(windows):
        total += counts
        if t:
            detector.update(bet_on_small(_p_value(counts, total, draws, rng)))
    pairs = (windows * (windows - 1)).sum(axis=1)
    sizes = windows.sum(axis=1)
    n = int(sizes.sum())
    expected = float((total * (total - 1)).sum() / (n * (n - 1))) if n > 1 else 1.0
    within = float(pairs.sum() / max(1, (sizes * (sizes - 1)).sum()))
    return StreamTest(
        wealth=detector.largest,
        excess=(within - expected) / (1 - expected) if expected < 1 else 0.0,
        windows=len(windows),
        labels=n,
        one_class_windows=int((windows.max(axis=1) == sizes).sum()),
    )


def bet_on_small(p: float) -> float:
    """f(p) = (1 - p + p ln p) / (p ln(p)^2): mean 1 for uniform p, large for small p.

    Example:
        >>> round(bet_on_small(0.01), 2), round(bet_on_small(0.5), 2)
        (4.45, 0.64)
    """
    if p >= 1 - 1e-6:
        return 0.5  # the limit; the formula loses its digits there
    log = float(np.log(p))
    return (1 - p + p * log) / (p * log * log)


def stream_composition(material: Material) -> Answer:
    """Batches that hold one class at a time."""
    rows = _rows(material)
    test = stream_test(rows)
    shares = [sum(column) for column in zip(*rows)]
    evidence = {
        "windows": test.windows,
        "labels": test.labels,
        "wealth": test.wealth,
        "excess": test.excess,
        "one_class_batches": test.one_class_windows,
        "label_counts": shares,
    }
    remedy = (
        "Shuffle: DataLoader(..., shuffle=True), or a shuffled list of files before it is cut into "
        "shards; a shuffle buffer must hold many times the images of a class."
    )
    if test.is_sorted:
        return accuse(
            "stream-sorted",
            f"Batches hold far more of one class than a shuffled stream's would: "
            f"{test.one_class_windows} of {test.windows} hold a single class, and the label pairs "
            f"within a batch lie {figure(100 * test.excess)} % of the way to one-class batches "
            f"(evidence {figure(test.wealth)} to 1).",
            remedy=remedy,
            evidence=evidence,
        )
    if _one_class_against_the_rest(material, shares):
        met = max(range(len(shares)), key=lambda c: shares[c])
        return accuse(
            "stream-sorted",
            f"The first {test.labels:,} labels are all {material.class_name(met)}, of "
            f"{material.n_classes} classes.",
            remedy=remedy,
            evidence=evidence,
        )
    if test.windows < 2:
        raise NotApplicable("One batch says nothing of the order.")
    return passed(
        f"The labels of {test.windows} batches come as in a shuffled stream, or more evenly.",
        evidence,
    )


def stream_is_mixed(material: Material) -> bool:
    """The labels of the first batches are known, and nothing speaks against exchangeability."""
    rows = material.case.label_counts
    if not rows:
        return False
    told = stream_test(rows)
    return told.wealth < 1 / LEVEL and told.excess < LEAST_EXCESS / 2


def stream_is_sorted(material: Material) -> bool:
    """For checks that would take a class which has not come yet for one that is missing."""
    try:
        rows = _rows(material)
    except NotApplicable:
        return False
    return stream_test(rows).is_sorted


def _one_class_against_the_rest(material: Material, shares: Sequence[int]) -> bool:
    """All labels of one class, where chance cannot do that."""
    n, top = sum(shares), max(shares)
    if top < n or material.n_classes < 2:
        return False
    known = material.case.class_counts
    if known is None:
        return n >= ONE_CLASS_LABELS
    share = known[shares.index(top)] / max(1, sum(known))
    return share < 1 and n * np.log(max(share, 1e-12)) < np.log(1e-6)


def _rows(material: Material) -> Sequence[Sequence[int]]:
    rows = material.case.label_counts
    if rows:
        return rows
    if material.case.class_counts is not None:
        labels, n = material.labels, len(material.case.class_counts)
        fitting = [int(one) for one in labels if 0 <= one < n]
        if fitting:
            return [np.bincount(fitting, minlength=n).tolist()]
    raise NotApplicable("The labels of the first batches were not kept in order.")


def _windows(label_counts: Sequence[Sequence[int]]) -> Counts:
    """Consecutive batches joined until a window has enough labels; (windows, C)."""
    windows: list[Counts] = []
    held: Counts | None = None
    for row in label_counts:
        counts = np.asarray(row, dtype=np.int64)
        held = counts if held is None else held + counts
        if held.sum() >= LEAST_LABELS:
            windows.append(held)
            held = None
        if len(windows) == MOST_WINDOWS:
            break
    return np.stack(windows) if windows else np.zeros((0, len(label_counts[0])), dtype=np.int64)


def _p_value(counts: Counts, total: Counts, draws: int, rng: np.random.Generator) -> float:
    """Rank of the window's pairs of one class among simulated parts of `total`."""
    present = total > 0
    simulated = rng.multivariate_hypergeometric(
        total[present], int(counts.sum()), size=draws, method="marginals"
    )
    theirs = (simulated * (simulated - 1)).sum(axis=1)
    ours = (counts * (counts - 1)).sum()
    above, equal = int((theirs > ours).sum()), int((theirs == ours).sum())
    return float((above + rng.uniform(1e-9, 1) * (equal + 1)) / (draws + 1))


CHECKS = (Check(name="stream-composition", run=stream_composition, needs_finite=False),)
