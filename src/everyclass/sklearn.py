"""`EveryclassClassifier`: the training of `everyclass train` as an estimator of scikit-learn.

Comes in: images in arrays or by path, labels of any kind. Goes out: a fitted estimator. It trains
by `workflows.train.train` in a temporary run folder, with the audit, the recipe, the checks, the
watch and the repairs of the command, and keeps the model's two files in memory.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from everyclass.errors import InputError
from everyclass.findings import Finding

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_array, check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
except ImportError as error:

    class MissingPackage(InputError, ImportError):
        """A package that this module needs is not installed."""

    raise MissingPackage(
        f"everyclass.sklearn needs scikit-learn 1.6 or newer, which cannot be imported ({error}).",
        remedy="pip install 'everyclass[sklearn]'",
    ) from None

from everyclass.models.file import CONTRACT, WEIGHTS, SavedModel, load_model
from everyclass.printing import progress_console
from everyclass.recipe import Recipe
from everyclass.run_folder import write_atomically
from everyclass.terminal.training import TrainingView
from everyclass.workflows.arrays import (
    as_images,
    class_names,
    shape_of_rows,
    to_pixels,
    value_range_of,
    write_labels,
    write_pixels,
)
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.events import Alarmed, DataRead, Decided, Event
from everyclass.workflows.job import InterruptedTraining
from everyclass.workflows.pixel_logits import logits_of_files, logits_of_pixels
from everyclass.workflows.repair import RepairOptions
from everyclass.workflows.train import TrainOptions, train

LABELS, IMAGES, RUN = "labels.parquet", "images", "run"


class BadInput(InputError, ValueError):
    """Data or parameters that cannot be used: everyclass's message, and scikit-learn's kind."""


class CollapseWarning(UserWarning):
    """The trained model predicts nothing, or never predicts some class; `evaluation_` has more."""


class EveryclassClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """An image classifier that predicts every class.

    Parameters that are None are decided from the data, with reasons, as `everyclass train` decides
    them; `recipe_` has all of them.

    Args:
        model: 'tutorial', a timm model name, `torchvision:NAME`, or `MODULE:FUNCTION`.
        epochs: passes over the training images.
        image_size: side of the square training images, pixels.
        imbalance: where class imbalance is corrected: one name, or several.
        augmentation: random changes of training images: one name, or several.
        learning_rate: the highest.
        batch_size: images an optimizer step.
        pretrained: start from ImageNet weights.
        weights_file: local file with pretrained weights.
        fine_tuning: what is trained of a pretrained network: "head", "light" or "full".
        val_fraction: share of the images that choose the epoch and calibrate, in (0, 1). They are
            taken from X; there is no test split, which is the business of `cross_val_score`.
        settings: any other setting of the recipe by name; not one of those above.
        decision: of `predict`: "balanced" (highest mean recall) or "natural" (fewest errors: the
            class of the highest `predict_proba`).
        image_shape: (height, width) or (height, width, 3) of flat rows; None takes a square where
            the rows make one.
        value_range: what is black and what is white; None for 0 to 255 of bytes, 0 to 1 of floats
            within, else the least and the largest value of the X of `fit` (`value_range_`). Pixels
            have 8 bits.
        max_repairs: after alarms of the watch, as of the command; None leaves alarms alone.
        device: "cpu", "cuda" or "mps".
        threads: of the processor.
        random_state: a whole number is the seed of `everyclass train --seed`; a RandomState, or
            None for numpy's own, draws one.
        verbose: show the training on standard error.

    Attributes:
        classes_: (C,) the labels, sorted.
        n_features_in_: values in a row, where X was flat.
        value_range_: see above; absent after a fit on paths.
        recipe_: the `Recipe` that was followed.
        evaluation_: the `Evaluation` on validation images.
        findings_: what the watch told, a `Finding` each.

    X is (N, H, W), (N, H, W, 3), flat (N, F), or a sequence of N paths; y holds N labels.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> X, y = load_digits(return_X_y=True)
        >>> classifier = EveryclassClassifier(model="test_resnet", epochs=3, random_state=0)
        >>> classifier.fit(X[:400], y[:400]).predict(X[400:]).shape
        (1397,)
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        epochs: int | None = None,
        image_size: int | None = None,
        imbalance: str | Sequence[str] | None = None,
        augmentation: str | Sequence[str] | None = None,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        pretrained: bool | None = None,
        weights_file: str | None = None,
        fine_tuning: str | None = None,
        val_fraction: float | None = None,
        settings: Mapping[str, Any] | None = None,
        decision: Literal["balanced", "natural"] = "balanced",
        image_shape: Sequence[int] | None = None,
        value_range: tuple[float, float] | None = None,
        max_repairs: int | None = 2,
        device: str | None = None,
        threads: int | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.epochs = epochs
        self.image_size = image_size
        self.imbalance = imbalance
        self.augmentation = augmentation
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.pretrained = pretrained
        self.weights_file = weights_file
        self.fine_tuning = fine_tuning
        self.val_fraction = val_fraction
        self.settings = settings
        self.decision = decision
        self.image_shape = image_shape
        self.value_range = value_range
        self.max_repairs = max_repairs
        self.device = device
        self.threads = threads
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> EveryclassClassifier:
        """Train on images and labels.

        Raises:
            BadInput: anything about X, y or the parameters that does not work (a ValueError too).
            EveryclassError: the training failed, and its repairs were used up.
        """
        if self.decision not in ("balanced", "natural"):
            raise BadInput(
                f"decision cannot be {self.decision!r}.", remedy="Use 'balanced' or 'natural'."
            )
        paths = _as_paths(X)
        pixels = None if paths is not None else self._pixels(X, y, fitting=True)
        images = paths if paths is not None else pixels
        assert images is not None
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if len(y) != len(images):
            raise BadInput(f"X has {len(images)} images and y {len(y)} labels.")
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise BadInput(f"y holds {len(classes)} class; a classifier needs 2 or more.")
        names = class_names(classes.tolist())
        with tempfile.TemporaryDirectory(prefix="everyclass-") as name:
            folder = Path(name)
            files = paths if pixels is None else write_pixels(folder / IMAGES, pixels)
            assert files is not None
            write_labels(folder / LABELS, files, [names[code] for code in codes])
            try:
                self._train(folder)
            except InputError as error:
                raise BadInput(error.what, where=error.where, remedy=error.remedy) from error
            except InterruptedTraining:
                raise KeyboardInterrupt from None  # the folder that could be resumed goes
            self._files = {file: (folder / RUN / file).read_bytes() for file in (CONTRACT, WEIGHTS)}
            self._loaded: SavedModel | None = load_model(folder / RUN)
        self._order = np.array([self._model().classes.index(one) for one in names])
        self.classes_ = classes
        if self.evaluation_.collapse in ("collapsed", "starved"):
            warnings.warn(self.evaluation_.collapse_sentence, CollapseWarning, stacklevel=2)
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """(N,) labels, by `decision`."""
        logits = self._logits(X)
        rule = self._model().decision
        chosen = rule.balanced(logits) if self.decision == "balanced" else rule.natural(logits)
        found: npt.NDArray[Any] = self.classes_[np.argsort(self._order)[chosen]]
        return found

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """(N, C) calibrated probabilities at the class frequencies of the training images, in the
        order of `classes_`."""
        logits = self._logits(X)
        probs: npt.NDArray[np.float64] = self._model().decision.probabilities(logits)
        return probs[:, self._order]

    def _train(self, folder: Path) -> None:
        findings, recipes = list[Finding](), list[Recipe]()

        def note(event: Event) -> None:
            view.show(event)
            if isinstance(event, DataRead) and event.table.set_aside:
                first = event.table.set_aside[0]
                raise InputError(
                    f"{first.image} cannot be used: {first.reason}.",
                    remedy="Leave it out of the images and the labels.",
                )
            if isinstance(event, Decided):
                recipes.append(event.recipe)
            if isinstance(event, Alarmed):
                findings.append(event.finding)

        options = TrainOptions(wishes=self._wishes(), repair=RepairOptions(most=self.max_repairs))
        source = DataSource(source=str(folder / LABELS), max_unreadable=0.0)
        with TrainingView(progress_console(), quiet=not self.verbose) as view:
            outcome = train(source, folder / RUN, options, on_event=note)
        self.recipe_, self.findings_ = recipes[-1], tuple(findings)
        self.evaluation_ = outcome.evaluation

    def _wishes(self) -> dict[str, Any]:
        own = (
            *("model", "epochs", "image_size", "imbalance", "augmentation", "learning_rate"),
            *("batch_size", "pretrained", "weights_file", "fine_tuning", "val_fraction"),
            *("device", "threads"),
        )
        wishes = {name: getattr(self, name) for name in own if getattr(self, name) is not None}
        more = dict(self.settings or {})
        twice = [name for name in more if name in (*own, "seed")]
        if twice:
            raise InputError(
                f"{twice[0]} is a parameter of its own.",
                where="settings",
                remedy="Give seed as random_state." if twice[0] == "seed" else "Move it there.",
            )
        state = self.random_state
        if not isinstance(state, (int, np.integer)):
            state = check_random_state(state).randint(2**31 - 1)
        return {"test_fraction": 0.0, **wishes, **more, "seed": int(state)}

    def _pixels(self, X: Any, y: Any, *, fitting: bool) -> npt.NDArray[np.uint8]:
        """X as images of 8 bits, checked as scikit-learn checks it."""
        if isinstance(X, list | tuple) and len(X) and np.ndim(X[0]) > 1:
            X = np.asarray(X)  # a list of images of one size
        flat = getattr(X, "ndim", 0) not in (3, 4)
        if flat:
            told: dict[str, Any] = {"y": y, "ensure_min_samples": 2} if fitting else {}
            checked = validate_data(self, X, reset=fitting, **told)
            values = checked[0] if fitting else checked
        else:
            values = check_array(X, allow_nd=True, ensure_2d=False)
        try:
            if flat:
                shape, guess = shape_of_rows(values.shape[1], self.image_shape)
                if guess and fitting:
                    warnings.warn(guess, UserWarning, stacklevel=3)
                values = values.reshape(len(values), *shape)
            values = as_images(values)
        except InputError as error:
            raise BadInput(error.what, where=error.where, remedy=error.remedy) from error
        if fitting:
            own = self.value_range
            self.value_range_ = value_range_of(values) if own is None else own
            if not self.value_range_[0] < self.value_range_[1]:
                raise BadInput(
                    f"value_range is {own!r}.", remedy="Give (black, white), black below white."
                )
        range_ = getattr(self, "value_range_", None) or value_range_of(values)
        return to_pixels(values, range_)

    def _logits(self, X: Any) -> npt.NDArray[np.float32]:
        check_is_fitted(self, "classes_")
        paths = _as_paths(X)
        model, device = self._model(), self.device
        if paths is None:
            return logits_of_pixels(model, self._pixels(X, None, fitting=False), device=device)
        try:
            return logits_of_files(model, paths, device=device)
        except InputError as error:
            raise BadInput(error.what, where=error.where, remedy=error.remedy) from error

    def _model(self) -> SavedModel:
        """The trained model, made from its files again after unpickling."""
        if self._loaded is None:
            with tempfile.TemporaryDirectory(prefix="everyclass-") as folder:
                for name, content in self._files.items():
                    write_atomically(Path(folder) / name, content)
                self._loaded = load_model(Path(folder))
        return self._loaded

    def __getstate__(self) -> dict[str, Any]:
        """Without the live network: a pickle holds the model's files, and no code of its own."""
        state: dict[str, Any] = dict(super().__getstate__())
        if "_loaded" in state:
            state["_loaded"] = None
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        # Blobs of two numbers, by which scikit-learn judges, are no images.
        tags.classifier_tags.poor_score = True
        return tags


def _as_paths(X: Any) -> list[str] | None:
    """X as paths, where that is what it holds; relative ones from the current folder on."""
    if isinstance(X, str | bytes) or getattr(X, "ndim", 1) != 1:
        return None
    try:
        found = list(X)
    except TypeError:
        return None
    if not found or not all(isinstance(one, str | Path) for one in found):
        return None
    texts = [str(one) for one in found]
    return [text if "://" in text else str(Path(text).absolute()) for text in texts]
