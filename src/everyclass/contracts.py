"""Words and values that others build on: verdicts, and the evaluation with its JSON form.

Comes in: numbers that somebody else computed. Goes out: a checked value, and `evaluation.json`.
Knows no arithmetic beyond what it takes to notice that two fields contradict each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from everyclass import notebook
from everyclass.calibrations import ReliabilityBin, SetEvaluation
from everyclass.json_reader import (
    ROUNDING,
    Reader,
    as_items,
    as_number,
    as_whole,
    check_interval,
    check_share,
    require,
)
from everyclass.slices import SliceFindings

Verdict = Literal["healthy", "collapsed", "starved", "not-learning", "diverged"]
"""What was seen.

- `healthy`: every class with enough images is recognised.
- `collapsed`: predictions carry (almost) no information about the labels.
- `starved`: some classes with enough images are never recognised.
- `not-learning`: the loss stays at the entropy of the labels.
- `diverged`: the loss or the parameters are non-finite or explode.
"""

DecisionKind = Literal["balanced", "natural"]
"""What a prediction aims at: the highest mean recall, or the fewest errors at the given prior."""

_MOST_SHOWN = 50  # classes in a notebook, the worst ones

Interval = tuple[float, float]
"""(low, high) in [0, 1]; a field's name carries the level, `interval_methods` the method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassEvaluation:
    """One class on one split. A figure that does not apply is None, and `note` says why.

    Attributes:
        name: the class.
        n: images of the class in the split (its support).
        predicted: images that were given this class.
        train_n: images of the class that the model was trained on; None when not known.
        recall: in [0, 1]; None without images in the split.
        precision: in [0, 1]; None when the class was never predicted.
        f1: in [0, 1]; None when the class has no images and was never predicted.
        recall_ci95, precision_ci95, f1_ci95: 95 % intervals, None where the figure is None.
        note: what a reader has to know, or "".
    """

    name: str
    n: int
    predicted: int
    train_n: int | None
    recall: float | None
    precision: float | None
    f1: float | None
    recall_ci95: Interval | None
    precision_ci95: Interval | None
    f1_ci95: Interval | None
    note: str = ""

    def __post_init__(self) -> None:
        where = f"class '{self.name}'"
        for key in ("n", "predicted"):
            require(getattr(self, key) >= 0, where, f"{key} is negative ({getattr(self, key)}).")
        require(self.train_n is None or self.train_n >= 0, where, "train_n is negative.")
        for key in ("recall", "precision", "f1"):
            value, interval = getattr(self, key), getattr(self, f"{key}_ci95")
            check_share(value, where, key)
            check_interval(interval, value, where, f"{key}_ci95")
            require(
                (value is None) == (interval is None),
                where,
                f"{key} and {key}_ci95 must both be given or both be null.",
            )
        require((self.recall is None) == (self.n == 0), where, "recall is null exactly when n = 0.")

    def to_dict(self) -> dict[str, Any]:
        """The JSON object, with plain numbers, strings, lists and None."""
        return {
            "name": self.name,
            "n": self.n,
            "predicted": self.predicted,
            "train_n": self.train_n,
            "recall": self.recall,
            "precision": self.precision,
            "f1": self.f1,
            "recall_ci95": _as_list(self.recall_ci95),
            "precision_ci95": _as_list(self.precision_ci95),
            "f1_ci95": _as_list(self.f1_ci95),
            "note": self.note,
        }

    @classmethod
    def from_dict(cls, values: object, *, where: str = "classes") -> ClassEvaluation:
        """The value of a JSON object; raises InputError for what is missing or wrong."""
        read = Reader(values, where)
        return cls(
            name=read.text("name"),
            n=read.whole("n"),
            predicted=read.whole("predicted"),
            train_n=read.whole_or_none("train_n"),
            recall=read.number_or_none("recall"),
            precision=read.number_or_none("precision"),
            f1=read.number_or_none("f1"),
            recall_ci95=read.interval_or_none("recall_ci95"),
            precision_ci95=read.interval_or_none("precision_ci95"),
            f1_ci95=read.interval_or_none("f1_ci95"),
            note=read.text("note"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MajorityBaseline:
    """What always answering the most frequent class of the split would score: the bar to clear.

    Attributes:
        name: the most frequent class of the split (the first of several).
        accuracy, balanced_accuracy, macro_f1: in [0, 1].
        mcc: 0 by definition of the coefficient for constant predictions.
    """

    name: str
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    mcc: float

    def __post_init__(self) -> None:
        for key in ("accuracy", "balanced_accuracy", "macro_f1"):
            check_share(getattr(self, key), "majority", key)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "name": self.name,
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "mcc": self.mcc,
        }

    @classmethod
    def from_dict(cls, values: object) -> MajorityBaseline:
        """The value of a JSON object; raises InputError for what is missing or wrong."""
        read = Reader(values, "majority")
        return cls(
            name=read.text("name"),
            accuracy=read.number("accuracy"),
            balanced_accuracy=read.number("balanced_accuracy"),
            macro_f1=read.number("macro_f1"),
            mcc=read.number("mcc"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How one model does on one split, class by class: the value behind `evaluation.json`.

    Means over classes are means over the classes with images in the split.

    Attributes:
        split: train, val, test, or a name of the caller's.
        n: images evaluated, > 0.
        set_aside: images of the split that could not be read.
        decision: which decision the figures judge.
        accuracy, balanced_accuracy, macro_f1: in [0, 1]; the first two with 95 % intervals.
        mcc: Matthews correlation (multiclass R_K), in [-1, 1].
        majority: the same figures for always answering the most frequent class.
        classes: every class, in the order of the confusion matrix.
        confusion: (C, C), row = target, column = prediction.
        ece: expected calibration error of the reported probabilities, in [0, 1].
        ece_before_temperature: the same at temperature 1.
        ece_bins: equal-width confidence bins used for both.
        temperature: > 0, what the logits were divided by.
        prior: (C,) the class frequencies that the probabilities assume.
        predicted_classes: how many classes were predicted at least once.
        effective_predicted_classes: exp of the entropy of the prediction shares, in [1, C].
        never_predicted: classes with images in the split that no image was given.
        collapse: the verdict; `collapse_sentence` gives its reason.
        starved: classes at recall 0 with enough images to say so.
        information_share: share of the labels' entropy that the predictions explain,
            corrected for its bias; None when only one class has images.
        independence_p: p-value of "predictions are independent of labels"; None likewise, and
            when only one class was predicted.
        interval_methods: (figure, method) pairs.
        reliability: the bins behind `ece` that hold images; () in files of earlier versions.
        reliability_before_temperature: the same at temperature 1.
        prediction_sets: coverage and size of conformal prediction sets; None where the run has no
            thresholds for them.
        slices: images with something in common that are recognised less often than others of
            their classes; None where they were not looked for.
    """

    split: str
    n: int
    set_aside: int
    decision: DecisionKind
    accuracy: float
    accuracy_ci95: Interval
    balanced_accuracy: float
    balanced_accuracy_ci95: Interval
    macro_f1: float
    mcc: float
    majority: MajorityBaseline
    classes: tuple[ClassEvaluation, ...]
    confusion: tuple[tuple[int, ...], ...]
    ece: float
    ece_before_temperature: float
    ece_bins: int
    temperature: float
    prior: tuple[float, ...]
    predicted_classes: int
    effective_predicted_classes: float
    never_predicted: tuple[str, ...]
    collapse: Verdict
    collapse_sentence: str
    starved: tuple[str, ...]
    information_share: float | None
    independence_p: float | None
    interval_methods: tuple[tuple[str, str], ...]
    reliability: tuple[ReliabilityBin, ...] = ()
    reliability_before_temperature: tuple[ReliabilityBin, ...] = ()
    prediction_sets: SetEvaluation | None = None
    slices: SliceFindings | None = None

    def __post_init__(self) -> None:
        where = "evaluation"
        require(self.n > 0, where, f"n is {self.n}; at least one image must be evaluated.")
        require(self.set_aside >= 0, where, f"set_aside is negative ({self.set_aside}).")
        for key in ("accuracy", "balanced_accuracy", "macro_f1", "ece", "ece_before_temperature"):
            check_share(getattr(self, key), where, key)
        for key in ("accuracy", "balanced_accuracy"):
            name = f"{key}_ci95"
            check_interval(getattr(self, name), getattr(self, key), where, name)
        require(-1 <= self.mcc <= 1, where, f"mcc is {self.mcc}, outside [-1, 1].")
        require(self.temperature > 0, where, f"temperature is {self.temperature}, not above 0.")
        for key, known in (("decision", get_args(DecisionKind)), ("collapse", get_args(Verdict))):
            word = getattr(self, key)
            require(word in known, where, f"{key} is {word!r}, not one of {', '.join(known)}.")
        self._check_classes(where)
        self._check_figures(where)
        self._check_trust(where)

    def _check_classes(self, where: str) -> None:
        names = [one.name for one in self.classes]
        require(len(set(names)) == len(names), where, "two classes have the same name.")
        size = len(names)
        require(
            len(self.confusion) == size and all(len(row) == size for row in self.confusion),
            where,
            f"the confusion matrix is not {size} x {size}, as the {size} classes demand.",
        )
        require(len(self.prior) == size, where, f"{len(self.prior)} priors for {size} classes.")
        total = sum(self.prior)
        require(abs(total - 1) < 1e-6, where, f"the prior sums to {total:.6g}, not to 1.")
        require(min(self.prior) >= 0, where, f"the prior holds {min(self.prior):.6g}.")
        columns = [sum(column) for column in zip(*self.confusion)]
        for one, row, column in zip(self.classes, self.confusion, columns):
            require(min(row) >= 0, where, f"confusion row '{one.name}' has a negative count.")
            require(
                (one.n, one.predicted) == (sum(row), column),
                where,
                f"class '{one.name}' has n {one.n} and predicted {one.predicted}, but its row and "
                f"column of the confusion matrix sum to {sum(row)} and {column}.",
            )
        require(self.n == sum(columns), where, f"n is {self.n}, the matrix sums to {sum(columns)}.")
        strangers = {self.majority.name, *self.never_predicted, *self.starved} - set(names)
        require(not strangers, where, f"unknown classes: {', '.join(sorted(strangers))}.")
        require(
            self.predicted_classes == sum(column > 0 for column in columns),
            where,
            f"predicted_classes is {self.predicted_classes}, the matrix shows "
            f"{sum(column > 0 for column in columns)}.",
        )

    def _check_trust(self, where: str) -> None:
        for key in ("reliability", "reliability_before_temperature"):
            counted = sum(one.n for one in getattr(self, key))
            require(counted in (0, self.n), where, f"{key} counts {counted} images, n is {self.n}.")
        if self.prediction_sets is not None:
            require(
                [(one.name, one.n) for one in self.prediction_sets.classes]
                == [(one.name, one.n) for one in self.classes],
                where,
                "prediction_sets has other classes or images than the evaluation.",
            )

    def _check_figures(self, where: str) -> None:
        hits = [row[i] for i, row in enumerate(self.confusion)]
        _check_ratio(self.accuracy, sum(hits), self.n, where, "accuracy")
        for one, right in zip(self.classes, hits):
            here = f"class '{one.name}'"
            _check_ratio(one.recall, right, one.n, here, "recall")
            _check_ratio(one.precision, right, one.predicted, here, "precision")
            _check_ratio(one.f1, 2 * right, one.n + one.predicted, here, "f1")
        present = [one for one in self.classes if one.n > 0]
        for key, per_class in (("balanced_accuracy", "recall"), ("macro_f1", "f1")):
            total = sum(getattr(one, per_class) for one in present)
            _check_ratio(getattr(self, key), total, len(present), where, key)
        silent = {one.name for one in present if one.predicted == 0}
        require(
            set(self.never_predicted) == silent,
            where,
            f"never_predicted is {sorted(self.never_predicted)}, the matrix shows "
            f"{sorted(silent)}.",
        )
        check_share(self.independence_p, where, "independence_p")

    def __str__(self) -> str:
        low, high = self.balanced_accuracy_ci95
        return (
            f"{self.split}: {self.n:,} images, balanced accuracy {self.balanced_accuracy:.3f} "
            f"[{low:.3f}, {high:.3f}] (majority {self.majority.balanced_accuracy:.3f}), "
            f"{self.collapse}"
        )

    def _repr_html_(self) -> str:
        """For a notebook: the verdict, the figures beside the majority baseline, every class."""
        base = self.majority
        figures = (
            ("balanced accuracy", self.balanced_accuracy, self.balanced_accuracy_ci95),
            ("accuracy", self.accuracy, self.accuracy_ci95),
            ("macro-F1", self.macro_f1, None),
            ("MCC", self.mcc, None),
        )
        baselines = (base.balanced_accuracy, base.accuracy, base.macro_f1, base.mcc)
        shown = sorted(self.classes, key=lambda one: (one.recall is None, one.recall or 0.0))
        shown = shown[:_MOST_SHOWN] if len(shown) > _MOST_SHOWN else list(self.classes)
        return notebook.headed(
            f"{self.split}: {self.n:,} images, {self.collapse}",
            notebook.paragraph(self.collapse_sentence),
            notebook.table(
                ("", "model", "95 % interval", f"always '{base.name}'"),
                [
                    (name, f"{value:.3f}", _ends(interval, 3), f"{baseline:.3f}")
                    for (name, value, interval), baseline in zip(figures, baselines)
                ],
            ),
            notebook.table(
                ("class", "", "recall", "95 %", "images", "precision", "F1", "predicted"),
                [
                    (
                        one.name,
                        notebook.bar(one.recall),
                        _shown(one.recall),
                        _ends(one.recall_ci95, 2),
                        f"{one.n:,}",
                        _shown(one.precision),
                        _shown(one.f1),
                        f"{one.predicted:,}",
                    )
                    for one in shown
                ],
                words=2,
            ),
            notebook.more(len(self.classes) - len(shown), "classes, recognised at least as often"),
        )

    def to_dict(self) -> dict[str, Any]:
        """The content of `evaluation.json`: plain numbers, strings, lists and None."""
        return {
            "split": self.split,
            "n": self.n,
            "set_aside": self.set_aside,
            "decision": self.decision,
            "accuracy": self.accuracy,
            "accuracy_ci95": list(self.accuracy_ci95),
            "balanced_accuracy": self.balanced_accuracy,
            "balanced_accuracy_ci95": list(self.balanced_accuracy_ci95),
            "macro_f1": self.macro_f1,
            "mcc": self.mcc,
            "majority": self.majority.to_dict(),
            "classes": [one.to_dict() for one in self.classes],
            "confusion": [list(row) for row in self.confusion],
            "ece": self.ece,
            "ece_before_temperature": self.ece_before_temperature,
            "ece_bins": self.ece_bins,
            "temperature": self.temperature,
            "prior": list(self.prior),
            "predicted_classes": self.predicted_classes,
            "effective_predicted_classes": self.effective_predicted_classes,
            "never_predicted": list(self.never_predicted),
            "collapse": self.collapse,
            "collapse_sentence": self.collapse_sentence,
            "starved": list(self.starved),
            "information_share": self.information_share,
            "independence_p": self.independence_p,
            "interval_methods": dict(self.interval_methods),
            "reliability": [one.to_dict() for one in self.reliability],
            "reliability_before_temperature": [
                one.to_dict() for one in self.reliability_before_temperature
            ],
            "prediction_sets": None
            if self.prediction_sets is None
            else self.prediction_sets.to_dict(),
            "slices": None if self.slices is None else self.slices.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: object, *, where: str = "evaluation.json") -> Evaluation:
        """The value of a parsed `evaluation.json`.

        Fields that this version does not know are left alone, so that a newer file can be read.

        Args:
            values: what `json.load` returned.
            where: the file, for messages.
        Raises:
            InputError: a field is missing, of another type, out of range or contradicted.
        """
        read = Reader(values, where)
        return cls(
            split=read.text("split"),
            n=read.whole("n"),
            set_aside=read.whole("set_aside"),
            decision=cast(DecisionKind, read.text("decision")),
            accuracy=read.number("accuracy"),
            accuracy_ci95=read.interval("accuracy_ci95"),
            balanced_accuracy=read.number("balanced_accuracy"),
            balanced_accuracy_ci95=read.interval("balanced_accuracy_ci95"),
            macro_f1=read.number("macro_f1"),
            mcc=read.number("mcc"),
            majority=MajorityBaseline.from_dict(read.value("majority")),
            classes=tuple(
                ClassEvaluation.from_dict(one, where=f"{where}: classes[{i}]")
                for i, one in enumerate(read.items("classes"))
            ),
            confusion=tuple(
                tuple(as_whole(count, where, f"confusion[{i}]") for count in as_items(row, where))
                for i, row in enumerate(read.items("confusion"))
            ),
            ece=read.number("ece"),
            ece_before_temperature=read.number("ece_before_temperature"),
            ece_bins=read.whole("ece_bins"),
            temperature=read.number("temperature"),
            prior=tuple(as_number(share, where, "prior") for share in read.items("prior")),
            predicted_classes=read.whole("predicted_classes"),
            effective_predicted_classes=read.number("effective_predicted_classes"),
            never_predicted=read.texts("never_predicted"),
            collapse=cast(Verdict, read.text("collapse")),
            collapse_sentence=read.text("collapse_sentence"),
            starved=read.texts("starved"),
            information_share=read.number_or_none("information_share"),
            independence_p=read.number_or_none("independence_p"),
            interval_methods=read.text_pairs("interval_methods"),
            reliability=_bins(read, "reliability"),
            reliability_before_temperature=_bins(read, "reliability_before_temperature"),
            prediction_sets=None
            if read.value_or_none("prediction_sets") is None
            else SetEvaluation.from_dict(read.value("prediction_sets")),
            slices=None
            if read.value_or_none("slices") is None
            else SliceFindings.from_dict(read.value("slices"), where=f"{where}: slices"),
        )


def _bins(read: Reader, key: str) -> tuple[ReliabilityBin, ...]:
    """None in a file from before there were any."""
    return tuple(
        ReliabilityBin.from_dict(one, where=f"{key}[{i}]")
        for i, one in enumerate(read.items(key) if read.value_or_none(key) is not None else ())
    )


def _as_list(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _shown(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def _ends(interval: Interval | None, digits: int) -> str:
    return "" if interval is None else f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"


def _check_ratio(value: float | None, part: float, whole: int, where: str, key: str) -> None:
    if whole == 0:
        require(value is None, where, f"{key} is {value}, but does not apply: it would be 0/0.")
        return
    require(
        value is not None and abs(value - part / whole) <= ROUNDING,
        where,
        f"{key} is {value}, the confusion matrix gives {part / whole:.4g}.",
    )
