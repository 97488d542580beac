"""From the best weights to an honest model: calibrate, correct, save, evaluate.

Comes in: a trained job. Goes out: `model.safetensors`, `model.json`, `conformal.json`,
`reliability.png`, `evaluation.json`, `predictions.csv`. Validation images choose; test images only
judge. Both are taken as they are, each image once: no sampler and no weight touches what
temperature and prediction sets are calibrated on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch

from everyclass.contracts import DecisionKind, Evaluation
from everyclass.images.table import SPLITS, ImageTable, SplitName
from everyclass.imbalance.prior import fitted_prior, sweep_tau
from everyclass.models.decision import Decision
from everyclass.models.file import SavedModel, save_model
from everyclass.stats.calibration import fit_temperature
from everyclass.stats.collapse import independence_p_value
from everyclass.stats.conformal import ConformalThresholds, conformal_thresholds, evaluate_sets
from everyclass.stats.evaluation import evaluate_predictions
from everyclass.workflows.correction import Correction
from everyclass.workflows.head import rebalance
from everyclass.workflows.inference import logits_of, make_fabric
from everyclass.workflows.job import Job, Progress
from everyclass.workflows.looks import Looks, sliced
from everyclass.workflows.manifest import looks_of_run
from everyclass.workflows.prediction_file import (
    PredictionFile,
    predicted_rows,
    prediction_schema,
)
from everyclass.workflows.prediction_sets import DEFAULT_COVERAGE, write_scores
from everyclass.workflows.reliability_figure import reliability_png

OTHER_FREQUENCIES_P = 1e-3
"""Validation images count as differently distributed below this p-value of "drawn alike"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A finished run. `sentences` says how it was chosen and calibrated."""

    model: SavedModel
    evaluation: Evaluation
    sentences: tuple[str, ...]


def finish(job: Job, progress: Progress) -> Outcome:
    """Save and evaluate the best weights of a job."""
    settings, table = job.settings, job.table
    state = safetensors.torch.load(job.run.best_weights.read_bytes())
    job.classifier.load_state_dict(state)
    fabric = make_fabric(device=settings.device, precision=settings.precision)
    classifier = job.classifier.to(fabric.device).eval()

    def logits(split: SplitName) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        rows = np.flatnonzero(table.split_codes() == SPLITS.index(split))
        return logits_of(classifier, job.store.gather, rows, fabric=fabric), table.labels()[rows]

    correction, told = job.correction, tuple[str, ...]()
    if correction.head is not None:
        done = rebalance(job, correction.head, fabric=fabric)
        told = (done.sentence,)
        correction = replace(
            correction, logits_prior=done.logits_prior, prior_is_exact=done.prior_is_exact
        )
    val_logits, val_targets = logits("val")
    decision, sentences = choose_decision(
        val_logits,
        val_targets,
        correction,
        tau_sweep=settings.tau_sweep,
        train_counts=table.counts("train"),
    )
    model = SavedModel(
        classifier=classifier,
        name=settings.model,
        small_stem=job.small_stem,
        cosine_head=job.cosine_head,
        classes=table.classes,
        decision=decision,
        precision=settings.precision,
    )
    save_model(job.run.path, model)
    scores = write_scores(job.run, model, val_logits, val_targets)
    split: SplitName = "test" if table.has_split("test") else "val"
    judged, targets = logits(split) if split == "test" else (val_logits, val_targets)
    rows = np.flatnonzero(table.split_codes() == SPLITS.index(split))
    evaluation = evaluate_logits(
        judged,
        targets,
        model,
        split=split,
        kind="balanced",
        train_counts=table.counts("train"),
        thresholds=conformal_thresholds(scores, coverage=DEFAULT_COVERAGE),
        same_images=split == "val",
        table=table.take(rows),
        looks=looks_of_run(job.run.manifest, rows),
    )
    job.run.write_bytes(job.run.reliability_figure, reliability_png(evaluation))
    _write_predictions(job.run.predictions, table.of_split(split), judged, model)
    # Last: it is what makes a run a finished one.
    job.run.write_json(job.run.evaluation, evaluation.to_dict())
    job.run.clean()
    return Outcome(
        model=model,
        evaluation=evaluation,
        sentences=(_chosen(job, progress), *told, *sentences, _judged(split)),
    )


def choose_decision(
    logits: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
    correction: Correction,
    *,
    tau_sweep: bool,
    train_counts: npt.NDArray[np.int64],
) -> tuple[Decision, tuple[str, ...]]:
    """Temperature and post-hoc strength from validation logits, with the reasons.

    Args:
        logits: (N, C) of validation images.
        targets: (N,) class ids.
        tau_sweep: whether a strength other than 0 may be chosen.
        train_counts: (C,) images of each class in the train split.
    """
    plain = Decision(
        logits_prior=tuple(correction.logits_prior.tolist()),
        natural_prior=tuple(correction.natural_prior.tolist()),
    )
    sentences = list[str]()
    if not correction.prior_is_exact and len(targets):
        plain = replace(plain, logits_prior=_estimated_prior(logits, targets, correction))
        sentences.append(
            "The prior that the logits imply was estimated on validation images: no formula gives "
            "it for this correction."
        )
    shift = _shift_of_validation(targets, train_counts)
    if shift is not None:
        sentences.append(
            "The classes are differently frequent among validation than among training images; the "
            "temperature was fitted at the frequencies of the former."
        )
    fit = fit_temperature(plain.natural_logits(logits), targets, shift=shift)
    sentences.append(f"Temperature, on validation images as they are: {fit.sentence}.")
    tau = 0.0
    if tau_sweep:
        sweep = sweep_tau(
            torch.from_numpy(logits),
            torch.from_numpy(targets),
            log_prior=torch.from_numpy(np.log(correction.natural_prior)),
        )
        tau = sweep.tau
        sentences.append(f"Post-hoc logit adjustment: {sweep.sentence}.")
    decision = Decision(
        logits_prior=plain.logits_prior,
        natural_prior=plain.natural_prior,
        temperature=fit.temperature,
        tau=tau,
    )
    return decision, tuple(sentences)


def _shift_of_validation(
    targets: npt.NDArray[np.int64], train_counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64] | None:
    """Log of validation over training frequencies, where they differ by more than chance.

    A split of ours, and a random one, has the same frequencies in both but for chance, and nothing
    is gained by fitting to that; a given split may be balanced on purpose.
    """
    counts = np.bincount(targets, minlength=len(train_counts))
    p_value = independence_p_value(np.stack([train_counts, counts]))
    if p_value is None or p_value >= OTHER_FREQUENCIES_P:
        return None
    with np.errstate(divide="ignore"):  # log 0 = -inf: none of these images is of that class
        shift: npt.NDArray[np.float64] = np.log(counts / counts.sum())
    shift -= np.log(train_counts / train_counts.sum())
    return shift


def _estimated_prior(
    logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64], correction: Correction
) -> tuple[float, ...]:
    found = fitted_prior(
        torch.from_numpy(logits),
        torch.from_numpy(targets),
        natural_prior=torch.from_numpy(correction.natural_prior),
        expected=torch.from_numpy(correction.logits_prior),
    )
    return tuple(found.tolist())


def evaluate_logits(
    logits: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
    model: SavedModel,
    *,
    split: str,
    kind: DecisionKind,
    train_counts: npt.NDArray[np.int64] | None,
    table: ImageTable,
    looks: Looks | None,
    set_aside: int = 0,
    thresholds: ConformalThresholds | None = None,
    same_images: bool = False,
) -> Evaluation:
    """The evaluation of one decision of a model on logits it gave.

    Args:
        logits: (N, C).
        targets: (N,) class ids.
        table: of the same images, for their groups.
        looks: of the same images, None where they are not known.
        thresholds: of the prediction sets to evaluate; none are when left out.
        same_images: whether the thresholds come from images among these.
    """
    decision = model.decision
    uncalibrated = Decision(
        logits_prior=decision.logits_prior, natural_prior=decision.natural_prior
    )
    chosen = decision.balanced(logits) if kind == "balanced" else decision.natural(logits)
    evaluation = evaluate_predictions(
        targets,
        chosen,
        probs=decision.probabilities(logits),
        probs_before_temperature=uncalibrated.probabilities(logits),
        classes=model.classes,
        split=split,
        decision=kind,
        prior=decision.natural_prior,
        temperature=decision.temperature,
        train_counts=train_counts,
        set_aside=set_aside,
        prediction_sets=None
        if thresholds is None
        else evaluate_sets(
            thresholds, decision.even_probabilities(logits), targets, same_images=same_images
        ),
    )
    found = sliced(chosen == targets, targets, classes=model.classes, table=table, looks=looks)
    return replace(evaluation, slices=found)


def _write_predictions(
    path: Path, table: ImageTable, logits: npt.NDArray[np.float32], model: SavedModel
) -> None:
    schema = prediction_schema(model.classes, labelled=True)
    labels = [table.classes[label] for label in table.labels()]
    with PredictionFile(path, schema) as file:
        file.write(predicted_rows(table.images, logits, model, schema=schema, labels=labels))


def _chosen(job: Job, progress: Progress) -> str:
    name = job.settings.selection
    if name == "last":
        return f"Kept the weights of the last epoch ({progress.best_epoch + 1})."
    return (
        f"Kept the weights of epoch {progress.best_epoch + 1} of {job.settings.epochs}: "
        f"{name.replace('_', ' ')} {progress.best_score[0]:.3f} on validation images."
    )


def _judged(split: str) -> str:
    if split == "test":
        return "Evaluated on the test split, which no choice was made on."
    return (
        "Evaluated on the validation split, for want of a test split: the epoch was chosen on the "
        "same images, so the figures are a little too good."
    )
