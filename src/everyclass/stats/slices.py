"""Which images are recognised less often than others of their classes? Slices, tested.

Comes in: right or wrong for each image, labels, attributes. Goes out: `SliceFindings`. Reads no
file and knows no model.

**Slices.** Each group with enough images; of a number the four quarters of the images, or each
value where there are four at most. Each slice is looked at over all classes, and in each class that
has enough images on both sides.

**What is compared.** A slice's recall with that of the other images *of its classes*, weighted as
the slice's images are: a slice is not worse because a hard class sits in it. The test is exact
(`stratified.fewer_right_p`), one-sided. A mean over classes of equal weights would rest on the
classes of which a slice has one or two images.

**Groups.** Images of one group (patient, slide) are not independent, and light or size often go
with the group. Where groups are known, a slice of light or size must also be shown with sums by
group (`stratified.clustered_p`): the larger of the two p-values counts. A slice that is a group
needs no such thing: it is compared as the set of images that it is.

**Many looks.** Tests over all classes share half of the level, tests of single classes the other
half, each family by Holm's method: the chance of naming any slice where none is worse is at most
the level, whatever the slices have in common. Few slices are named to be acted upon, so what is
bounded is the chance of one false name, not (as Benjamini and Hochberg do) the share of false ones.

**Intervals.** Wilson's, which never has width zero, and needs no resampling. Where groups are known
the number of images is divided by the design effect, the variance of the recall by groups over
that of independent images, where this is above 1 (Kish 1965; Korn and Graubard 1998, "Confidence
intervals for proportions with small expected number of positive counts"). The difference has
Newcombe's interval by square-and-add, at a level that allows for the number of slices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from everyclass.errors import InputError
from everyclass.slices import Attribute, Ends, Slice, SliceFindings
from everyclass.stats.intervals import wilson_interval
from everyclass.stats.stratified import clustered_p, fewer_right_p, holm_adjusted

LEVEL = 0.05
LEAST_IMAGES = 20
"""Of a slice over all classes, and of the images it is compared with."""

LEAST_OF_CLASS = 10
"""The same for a slice of one class."""

QUARTERS = (0.25, 0.5, 0.75)
FEW_VALUES = 4
TOLD_OTHERS = 5
"""Slices that are not shown, but kept: those nearest to it."""

METHOD = (
    "exact stratified test by class, one-sided; Holm's correction in two families (all classes, "
    "single classes) at half the level each; Wilson intervals"
)
METHOD_BY_GROUP = (
    f"{METHOD} at the effective number of images; slices other than groups also by a test with "
    "sums by group, the larger p-value counting"
)

Bools = NDArray[np.bool_]
Ids = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Numbers:
    """A number an image, and how its slices are called.

    Args:
        attribute: its name.
        values: (N,) float64, NaN where it is not known.
        digits: after the point, to which cuts are rounded: what is printed is what was cut.
        words: (low, high) -> which images; an end is None where the range is open, and both are
            one where it is a single value.
    """

    attribute: Attribute
    values: Floats
    digits: int
    words: Callable[[float | None, float | None], str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cut:
    """Images of a slice, among those of which the attribute is known."""

    attribute: Attribute
    words: str
    inside: Bools
    known: Bools
    value: str | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Images:
    """What is known of every image; `groups` is None where it does not matter, else ids, an image
    without a group having one of its own."""

    correct: Bools
    labels: Ids
    groups: Ids | None

    def take(self, which: Bools) -> _Images:
        groups = None if self.groups is None else self.groups[which]
        return _Images(self.correct[which], self.labels[which], groups)


def find_slices(
    correct: ArrayLike,
    labels: ArrayLike,
    *,
    classes: Sequence[str],
    numbers: Sequence[Numbers] = (),
    groups: Sequence[str | None] | None = None,
    level: float = LEVEL,
) -> SliceFindings:
    """Look at every slice, and tell those that are shown to be worse.

    Args:
        correct: (N,) bool, whether the image was given its class.
        labels: (N,) class ids in [0, C).
        classes: C names.
        numbers: attributes that are numbers.
        groups: N names, None for an image without a group; None without any.
        level: chance of naming any slice where none is worse.
    Raises:
        InputError: lengths differ.
    """
    right, ids = np.asarray(correct, dtype=bool), np.asarray(labels, dtype=np.int64)
    lengths = {right.size, ids.size, *(one.values.size for one in numbers)}
    if len({*lengths, right.size if groups is None else len(groups)}) > 1:
        raise InputError(
            f"attributes and labels have different lengths ({sorted(lengths)}); "
            "one value an image is expected."
        )
    names, notes = _group_names(groups), list[str]()
    cuts = [*_group_cuts(names, notes)]
    for one in numbers:
        cuts.extend(_number_cuts(one, notes))
    by_group = _clusters(names)
    images = _Images(right, ids, by_group)
    pairs = [one for cut in cuts for one in _pairs(cut, images, len(classes))]
    if not cuts and not notes:
        notes.append("nothing is known of the images but their class")
    elif cuts and not pairs:
        notes.append(f"no slice has {LEAST_IMAGES} images and as many to compare them with")
    p = np.array([one.p() for one in pairs])
    adjusted = _adjusted(p, np.array([one.label is not None for one in pairs], dtype=bool))
    ranked = np.lexsort((p, adjusted))[: int((adjusted <= level).sum()) + TOLD_OTHERS]
    found = (
        pairs[k].judged(
            float(p[k]), float(adjusted[k]), level=level, looks=len(pairs), classes=classes
        )
        for k in ranked.tolist()
    )
    return SliceFindings(
        level=level,
        looked_at=len(pairs),
        by_group=by_group is not None,
        method=METHOD if by_group is None else METHOD_BY_GROUP,
        slices=tuple(found),
        notes=tuple(notes),
    )


def _adjusted(p: Floats, of_class: Bools) -> Floats:
    """For their number; two families of half the level each, so twice each p."""
    adjusted = np.ones_like(p)
    families = 1 if of_class.all() or not of_class.any() else 2
    for family in (of_class, ~of_class):
        adjusted[family] = np.minimum(families * holm_adjusted(p[family]), 1.0)
    return adjusted


# -- which images ----------------------------------------------------------------------------------


def _group_names(groups: Sequence[str | None] | None) -> list[str | None] | None:
    if groups is None or all(one is None for one in groups):
        return None
    return list(groups)


def _clusters(names: list[str | None] | None) -> Ids | None:
    """(N,) ids; None where no group has two images."""
    if names is None:
        return None
    place = {name: k for k, name in enumerate(dict.fromkeys(n for n in names if n is not None))}
    ids = [len(names) + k if name is None else place[name] for k, name in enumerate(names)]
    codes = np.array(ids, dtype=np.int64)
    return codes if np.unique(codes).size < codes.size else None


def _group_cuts(names: list[str | None] | None, notes: list[str]) -> Iterator[_Cut]:
    if names is None:
        return
    values = np.array(["" if name is None else name for name in names], dtype=object)
    known = np.array([name is not None for name in names], dtype=bool)
    found, counts = np.unique(values[known].astype(str), return_counts=True)
    small = int((counts < LEAST_IMAGES).sum())
    if small:
        noun = "group has" if small == 1 else "groups have"
        notes.append(f"{small:,} {noun} fewer than {LEAST_IMAGES} images here")
    for name in found[counts >= LEAST_IMAGES].tolist():
        yield _Cut(
            attribute="group",
            words=f"images of group '{name}'",
            inside=known & (values == name),
            known=np.ones_like(known),
            value=name,
        )


def _number_cuts(one: Numbers, notes: list[str]) -> Iterator[_Cut]:
    known = np.isfinite(one.values)
    values = np.where(known, one.values, 0.0)
    distinct = np.unique(values[known])
    if distinct.size < 2:
        told = "is not known" if distinct.size == 0 else "is the same of all images"
        notes.append(f"the {one.attribute} {told}")
        return
    if distinct.size <= FEW_VALUES:
        for value in distinct.tolist():
            yield _Cut(
                attribute=one.attribute,
                words=one.words(value, value),
                inside=known & (values == value),
                known=known,
                value=f"{value:g}",
            )
        return
    edges = np.unique(np.quantile(values[known], QUARTERS).round(one.digits)).tolist()
    for low, high in zip([None, *edges], [*edges, None]):
        above = known if low is None else known & (values >= low)
        inside = above if high is None else above & (values < high)
        yield _Cut(
            attribute=one.attribute,
            words=one.words(low, high),
            inside=inside,
            known=known,
            low=low,
            high=high,
        )


# -- one slice -------------------------------------------------------------------------------------


def _pairs(cut: _Cut, images: _Images, n_classes: int) -> Iterator[_Pair]:
    """The slice beside the rest, over all classes and in each, where there are enough images."""
    inside = np.bincount(images.labels[cut.inside], minlength=n_classes)
    outside = np.bincount(images.labels[cut.known & ~cut.inside], minlength=n_classes)
    both = (inside > 0) & (outside > 0)  # a class on one side alone tells nothing
    if cut.attribute == "group":
        images = replace(images, groups=None)
    if min(inside[both].sum(), outside[both].sum()) >= LEAST_IMAGES:
        told = cut.known & both[images.labels]
        yield _Pair(cut, images.take(told), cut.inside[told], None)
    if both.sum() < 2:
        return  # one class: the same images again
    for label in np.flatnonzero(np.minimum(inside, outside) >= LEAST_OF_CLASS).tolist():
        own = cut.known & (images.labels == label)
        yield _Pair(cut, images.take(own), cut.inside[own], label)


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """A slice and the images that it is compared with; of one class where `label` is one."""

    cut: _Cut
    images: _Images
    inside: Bools
    label: int | None

    def p(self) -> float:
        """Chance of as few right ones in the slice, or fewer."""
        correct, every = self.images.correct, np.ones_like(self.inside)
        exact = fewer_right_p(
            self._counts(self.inside & correct),
            self._counts(self.inside),
            self._counts(correct),
            self._counts(every),
        )
        if self.images.groups is None:
            return exact
        # What a slice adds to the right ones of a class beyond its share: 0 in the mean.
        share_in = self._counts(self.inside) / np.maximum(self._counts(every), 1)
        share_right = self._counts(correct) / np.maximum(self._counts(every), 1)
        labels = self.images.labels
        scores = (self.inside - share_in[labels]) * (correct - share_right[labels])
        return max(exact, clustered_p(scores, self.images.groups))

    def judged(
        self, p: float, p_adjusted: float, *, level: float, looks: int, classes: Sequence[str]
    ) -> Slice:
        """With its figures."""
        n, right = int(self.inside.sum()), int((self.inside & self.images.correct).sum())
        mine, others = self._mine(), self._others()
        return Slice(
            attribute=self.cut.attribute,
            words=self.cut.words,
            value=self.cut.value,
            low=self.cut.low,
            high=self.cut.high,
            class_name=None if self.label is None else classes[self.label],
            n=n,
            right=right,
            recall=right / n,
            recall_ci95=mine.ends(0.95),
            elsewhere=others.mean,
            elsewhere_n=int((~self.inside).sum()),
            difference=right / n - others.mean,
            difference_interval=_difference_ends(mine, others, 1 - level / looks),
            p=p,
            p_adjusted=p_adjusted,
            shown=p_adjusted <= level,
        )

    def _mine(self) -> _Mean:
        share, size = self._effective(self.inside)
        return _Mean(np.ones(1), np.array([share]), np.array([size]))

    def _others(self) -> _Mean:
        """The recall elsewhere, each class weighted as it is in the slice."""
        inside = self._counts(self.inside)
        present = np.flatnonzero(inside)
        rest = ~self.inside
        pairs = [self._effective(rest & (self.images.labels == k)) for k in present.tolist()]
        shares, sizes = np.array(pairs).T
        return _Mean(inside[present] / inside.sum(), shares, sizes)

    def _counts(self, which: Bools) -> Ids:
        labels = self.images.labels
        return np.bincount(labels[which], minlength=int(labels.max()) + 1)

    def _effective(self, which: Bools) -> tuple[float, float]:
        """Share of right ones among these images, and how many independent ones tell as much."""
        right, n = self.images.correct[which], int(which.sum())
        share = float(right.mean())
        if self.images.groups is None:
            return share, float(n)
        _, codes = np.unique(self.images.groups[which], return_inverse=True)
        count = int(codes.max()) + 1
        if count == n:
            return share, float(n)
        if count == 1 or share in (0.0, 1.0):
            return share, float(count)  # nothing varies; a group may well be one image's worth
        sums = np.bincount(codes.reshape(-1), weights=right - share)
        by_group = float(np.sum(sums**2)) * count / (count - 1)
        return share, n / max(1.0, by_group / (n * share * (1 - share)))


@dataclass(frozen=True, slots=True, eq=False)
class _Mean:
    """A weighted mean of shares of independent sets of images. Each (K,)."""

    weights: Floats
    shares: Floats
    sizes: Floats

    @property
    def mean(self) -> float:
        # Rounding of the weights may leave 1 + 1e-16.
        return float(np.clip(self.weights @ self.shares, 0.0, 1.0))

    def ends(self, level: float) -> Ends:
        """Wilson's ends of each share, by square-and-add (MOVER), as `intervals` has them."""
        low, high = wilson_interval(self.shares * self.sizes, self.sizes, level=level).T
        below = float(np.sqrt(np.sum((self.weights * (self.shares - low)) ** 2)))
        above = float(np.sqrt(np.sum((self.weights * (high - self.shares)) ** 2)))
        return max(self.mean - below, 0.0), min(self.mean + above, 1.0)


def _difference_ends(mine: _Mean, others: _Mean, level: float) -> Ends:
    """Newcombe 1998, method 10: the ends that lie towards one another are added as squares."""
    (low, high), (low_others, high_others) = mine.ends(level), others.ends(level)
    below = float(np.hypot(mine.mean - low, high_others - others.mean))
    above = float(np.hypot(high - mine.mean, others.mean - low_others))
    difference = mine.mean - others.mean
    return max(difference - below, -1.0), min(difference + above, 1.0)
