"""How far probabilities can be trusted: reliability, prediction sets, their values and JSON form.

Comes in: numbers that somebody else computed. Goes out: a checked value, a part of
`evaluation.json`. The arithmetic is in `stats.calibration` and `stats.conformal`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from everyclass.json_reader import (
    ROUNDING,
    Interval,
    Reader,
    check_interval,
    check_share,
    require,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """The images whose confidence lies in (low, high]: what they promise and what they keep.

    Attributes:
        low, high: edges of the bin, in [0, 1]; the first bin holds 0 too.
        n: images, > 0: bins without images are left out.
        confidence: their mean confidence, in [0, 1].
        accuracy: share of right answers among them, in [0, 1].
        accuracy_ci95: its 95 % Wilson interval.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float
    accuracy_ci95: Interval

    def __post_init__(self) -> None:
        where = f"reliability bin from {self.low:g} to {self.high:g}"
        require(0 <= self.low < self.high <= 1, where, "its edges are not in order in [0, 1].")
        require(self.n > 0, where, f"n is {self.n}; a bin needs an image.")
        check_share(self.confidence, where, "confidence")
        check_share(self.accuracy, where, "accuracy")
        check_interval(self.accuracy_ci95, self.accuracy, where, "accuracy_ci95")

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "confidence": self.confidence,
            "accuracy": self.accuracy,
            "accuracy_ci95": list(self.accuracy_ci95),
        }

    @classmethod
    def from_dict(cls, values: object, *, where: str = "reliability") -> ReliabilityBin:
        """The value of a JSON object; raises InputError for what is missing or wrong."""
        read = Reader(values, where)
        return cls(
            low=read.number("low"),
            high=read.number("high"),
            n=read.whole("n"),
            confidence=read.number("confidence"),
            accuracy=read.number("accuracy"),
            accuracy_ci95=read.interval("accuracy_ci95"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCoverage:
    """How many images of one class have it in their prediction set.

    Attributes:
        name: the class.
        calibration_n: images of the class that its threshold comes from.
        threshold: the class is in the set of an image that gives it at least this probability,
            calibrated and at even class frequencies; 0 when it is in every set.
        guaranteed: whether there were enough of them for the coverage that was asked for. Where
            not, the class is in every set.
        n: images of the class that were looked at.
        covered: those of them whose set holds the class.
        coverage: covered / n; None without images.
        coverage_ci95: its 95 % Wilson interval; None without images.
    """

    name: str
    calibration_n: int
    threshold: float
    guaranteed: bool
    n: int
    covered: int
    coverage: float | None
    coverage_ci95: Interval | None

    def __post_init__(self) -> None:
        where = f"prediction sets, class '{self.name}'"
        require(self.calibration_n >= 0, where, "calibration_n is negative.")
        require(0 <= self.covered <= self.n, where, f"covered {self.covered} of {self.n} images.")
        check_share(self.threshold, where, "threshold")
        check_share(self.coverage, where, "coverage")
        check_interval(self.coverage_ci95, self.coverage, where, "coverage_ci95")
        require(
            self.coverage is None
            or self.n == 0
            or abs(self.coverage - self.covered / self.n) <= ROUNDING,
            where,
            f"coverage is {self.coverage}, but {self.covered} of {self.n} images are covered.",
        )
        for key in ("coverage", "coverage_ci95"):
            value = getattr(self, key)
            require((value is None) == (self.n == 0), where, f"{key} is null exactly when n = 0.")

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "name": self.name,
            "calibration_n": self.calibration_n,
            "threshold": self.threshold,
            "guaranteed": self.guaranteed,
            "n": self.n,
            "covered": self.covered,
            "coverage": self.coverage,
            "coverage_ci95": None if self.coverage_ci95 is None else list(self.coverage_ci95),
        }

    @classmethod
    def from_dict(cls, values: object, *, where: str) -> ClassCoverage:
        """The value of a JSON object; raises InputError for what is missing or wrong."""
        read = Reader(values, where)
        return cls(
            name=read.text("name"),
            calibration_n=read.whole("calibration_n"),
            threshold=read.number("threshold"),
            guaranteed=read.flag("guaranteed"),
            n=read.whole("n"),
            covered=read.whole("covered"),
            coverage=read.number_or_none("coverage"),
            coverage_ci95=read.interval_or_none("coverage_ci95"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SetEvaluation:
    """Prediction sets on images with labels: the coverage they reach, and what it costs.

    Attributes:
        coverage: what was asked for, of the images of each class; in (0, 1).
        images_needed: calibration images that a class needs for it.
        classes: every class, in the order of the model.
        sizes: (classes in the set, images) pairs, sizes ascending.
        same_images: whether the thresholds come from images that were looked at here too; the
            coverage is then what they were made to give, and proves nothing.
    """

    coverage: float
    images_needed: int
    classes: tuple[ClassCoverage, ...]
    sizes: tuple[tuple[int, int], ...]
    same_images: bool

    def __post_init__(self) -> None:
        where = "prediction sets"
        require(0 < self.coverage < 1, where, f"coverage is {self.coverage}, outside (0, 1).")
        counted = sum(images for _, images in self.sizes)
        require(
            counted == self.n > 0,
            where,
            f"sizes count {counted} images, the classes have {self.n}; at least one is needed.",
        )

    @property
    def n(self) -> int:
        """Images looked at."""
        return sum(one.n for one in self.classes)

    @property
    def reached(self) -> float:
        """Share of all images whose set holds their class."""
        return sum(one.covered for one in self.classes) / self.n

    @property
    def mean_size(self) -> float:
        """Classes in a set, in the mean over the images."""
        return sum(size * images for size, images in self.sizes) / self.n

    @property
    def not_guaranteed(self) -> tuple[str, ...]:
        """Classes with too few calibration images, which are in every set."""
        return tuple(one.name for one in self.classes if not one.guaranteed)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object; `reached` and `mean_size` are in it for readers, and computed anew."""
        return {
            "coverage": self.coverage,
            "reached": self.reached,
            "mean_size": self.mean_size,
            "images_needed": self.images_needed,
            "same_images": self.same_images,
            "sizes": {str(size): images for size, images in self.sizes},
            "classes": [one.to_dict() for one in self.classes],
        }

    @classmethod
    def from_dict(cls, values: object, *, where: str = "prediction_sets") -> SetEvaluation:
        """The value of a JSON object; raises InputError for what is missing or wrong."""
        read = Reader(values, where)
        return cls(
            coverage=read.number("coverage"),
            images_needed=read.whole("images_needed"),
            same_images=read.flag("same_images"),
            sizes=read.counts("sizes"),
            classes=tuple(
                ClassCoverage.from_dict(one, where=f"{where}: classes[{i}]")
                for i, one in enumerate(read.items("classes"))
            ),
        )
