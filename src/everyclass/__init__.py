"""Image classifiers that predict every class.

The names below are loaded when they are first used, so `import everyclass` costs nothing and the
parts that need no torch never load it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "EveryclassError": "everyclass.errors",
    "InputError": "everyclass.errors",
    "Evaluation": "everyclass.contracts",
    "ImageTable": "everyclass.images.table",
    "read_table": "everyclass.images.readers",
    "assign_splits": "everyclass.images.split",
    "assign_folds": "everyclass.images.folds",
    "load_image": "everyclass.images.pixels",
    "Audit": "everyclass.images.audit_values",
    "audit_images": "everyclass.images.audit",
    "Recipe": "everyclass.recipe",
    "balanced_weights": "everyclass.imbalance.weights",
    "effective_number_weights": "everyclass.imbalance.weights",
    "inverse_frequency_weights": "everyclass.imbalance.weights",
    "square_root_weights": "everyclass.imbalance.weights",
    "logit_adjusted_cross_entropy": "everyclass.imbalance.losses",
    "weighted_cross_entropy": "everyclass.imbalance.losses",
    "epoch_order": "everyclass.imbalance.sampling",
    "log_prior": "everyclass.imbalance.prior",
    "shift_prior": "everyclass.imbalance.prior",
    "stream_prior": "everyclass.imbalance.prior",
    "sweep_tau": "everyclass.imbalance.prior",
    "ClassBalancedFocalLoss": "everyclass.imbalance.focal",
    "focal_loss": "everyclass.imbalance.focal",
    "CosineLinear": "everyclass.imbalance.margins",
    "ldam_loss": "everyclass.imbalance.margins",
    "ldam_margins": "everyclass.imbalance.margins",
    "deferred_weights": "everyclass.imbalance.deferral",
    "first_late_epoch": "everyclass.imbalance.deferral",
    "label_aware_cross_entropy": "everyclass.imbalance.smoothing",
    "label_aware_smoothing": "everyclass.imbalance.smoothing",
    "class_temperature_cross_entropy": "everyclass.imbalance.temperature",
    "class_temperatures": "everyclass.imbalance.temperature",
    "Mixed": "everyclass.imbalance.mixing",
    "cutmix": "everyclass.imbalance.mixing",
    "mixup": "everyclass.imbalance.mixing",
    "remix": "everyclass.imbalance.mixing",
    "remix_shares": "everyclass.imbalance.mixing",
    "repeat_factor_order": "everyclass.imbalance.repeats",
    "repeat_factor_prior": "everyclass.imbalance.repeats",
    "repeat_factors": "everyclass.imbalance.repeats",
    "progressive_order": "everyclass.imbalance.sampling",
    "progressive_power": "everyclass.imbalance.sampling",
    "rank_share": "everyclass.imbalance.sampling",
    "sampled_prior": "everyclass.imbalance.sampling",
    "HeadTraining": "everyclass.imbalance.heads",
    "learn_scales": "everyclass.imbalance.heads",
    "retrain_head": "everyclass.imbalance.heads",
    "tau_normalised": "everyclass.imbalance.heads",
    "Offsets": "everyclass.imbalance.offsets",
    "find_offsets": "everyclass.imbalance.offsets",
    "average_states": "everyclass.imbalance.averaging",
    "load_average": "everyclass.imbalance.averaging",
    "fitted_prior": "everyclass.imbalance.prior",
    "CompareOptions": "everyclass.workflows.compare",
    "Comparison": "everyclass.workflows.compare",
    "compare": "everyclass.workflows.compare",
    "CurveOptions": "everyclass.workflows.curve",
    "curve": "everyclass.workflows.curve",
    "CrossvalOptions": "everyclass.workflows.crossval",
    "CrossValidation": "everyclass.workflows.crossval_result",
    "crossval": "everyclass.workflows.crossval",
    "find_label_errors": "everyclass.stats.confident",
    "evaluate_predictions": "everyclass.stats.evaluation",
    "decision_reliability": "everyclass.stats.calibration",
    "fit_temperature": "everyclass.stats.calibration",
    "CalibrationScores": "everyclass.stats.conformal",
    "ConformalThresholds": "everyclass.stats.conformal",
    "calibration_scores": "everyclass.stats.conformal",
    "conformal_thresholds": "everyclass.stats.conformal",
    "evaluate_sets": "everyclass.stats.conformal",
    "load_model": "everyclass.models.file",
    "Monitor": "everyclass.monitoring.monitor",
    "Finding": "everyclass.findings",
    "CheckResult": "everyclass.findings",
    "watch": "everyclass.capture.watching",
    "check": "everyclass.diagnosis.check",
    "check_case": "everyclass.diagnosis.check",
    "diagnose": "everyclass.diagnosis.live",
    "diagnose_case": "everyclass.diagnosis.diagnose",
    "Diagnosis": "everyclass.diagnoses",
    "DataSource": "everyclass.workflows.data_source",
    "TrainingView": "everyclass.terminal.training",
    "TrainOptions": "everyclass.workflows.train",
    "train": "everyclass.workflows.train",
    "resume": "everyclass.workflows.train",
    "write_report": "everyclass.report.write",
}

if TYPE_CHECKING:
    from everyclass.capture.watching import watch
    from everyclass.contracts import Evaluation
    from everyclass.diagnoses import Diagnosis
    from everyclass.diagnosis.check import check, check_case
    from everyclass.diagnosis.diagnose import diagnose_case
    from everyclass.diagnosis.live import diagnose
    from everyclass.errors import EveryclassError, InputError
    from everyclass.findings import CheckResult, Finding
    from everyclass.images.audit import audit_images
    from everyclass.images.audit_values import Audit
    from everyclass.images.folds import assign_folds
    from everyclass.images.pixels import load_image
    from everyclass.images.readers import read_table
    from everyclass.images.split import assign_splits
    from everyclass.images.table import ImageTable
    from everyclass.imbalance.averaging import average_states, load_average
    from everyclass.imbalance.deferral import deferred_weights, first_late_epoch
    from everyclass.imbalance.focal import ClassBalancedFocalLoss, focal_loss
    from everyclass.imbalance.heads import HeadTraining, learn_scales, retrain_head, tau_normalised
    from everyclass.imbalance.losses import logit_adjusted_cross_entropy, weighted_cross_entropy
    from everyclass.imbalance.margins import CosineLinear, ldam_loss, ldam_margins
    from everyclass.imbalance.mixing import Mixed, cutmix, mixup, remix, remix_shares
    from everyclass.imbalance.offsets import Offsets, find_offsets
    from everyclass.imbalance.prior import (
        fitted_prior,
        log_prior,
        shift_prior,
        stream_prior,
        sweep_tau,
    )
    from everyclass.imbalance.repeats import (
        repeat_factor_order,
        repeat_factor_prior,
        repeat_factors,
    )
    from everyclass.imbalance.sampling import (
        epoch_order,
        progressive_order,
        progressive_power,
        rank_share,
        sampled_prior,
    )
    from everyclass.imbalance.smoothing import label_aware_cross_entropy, label_aware_smoothing
    from everyclass.imbalance.temperature import class_temperature_cross_entropy, class_temperatures
    from everyclass.imbalance.weights import (
        balanced_weights,
        effective_number_weights,
        inverse_frequency_weights,
        square_root_weights,
    )
    from everyclass.models.file import load_model
    from everyclass.monitoring.monitor import Monitor
    from everyclass.recipe import Recipe
    from everyclass.report.write import write_report
    from everyclass.stats.calibration import decision_reliability, fit_temperature
    from everyclass.stats.confident import find_label_errors
    from everyclass.stats.conformal import (
        CalibrationScores,
        ConformalThresholds,
        calibration_scores,
        conformal_thresholds,
        evaluate_sets,
    )
    from everyclass.stats.evaluation import evaluate_predictions
    from everyclass.terminal.training import TrainingView
    from everyclass.workflows.compare import CompareOptions, Comparison, compare
    from everyclass.workflows.crossval import CrossvalOptions, crossval
    from everyclass.workflows.crossval_result import CrossValidation
    from everyclass.workflows.curve import CurveOptions, curve
    from everyclass.workflows.data_source import DataSource
    from everyclass.workflows.train import TrainOptions, resume, train

__all__ = [
    "Audit",
    "CalibrationScores",
    "CheckResult",
    "ClassBalancedFocalLoss",
    "CompareOptions",
    "Comparison",
    "ConformalThresholds",
    "CosineLinear",
    "CrossValidation",
    "CrossvalOptions",
    "CurveOptions",
    "DataSource",
    "Diagnosis",
    "Evaluation",
    "EveryclassError",
    "Finding",
    "HeadTraining",
    "ImageTable",
    "InputError",
    "Mixed",
    "Monitor",
    "Offsets",
    "Recipe",
    "TrainOptions",
    "TrainingView",
    "assign_folds",
    "assign_splits",
    "audit_images",
    "average_states",
    "balanced_weights",
    "calibration_scores",
    "check",
    "check_case",
    "class_temperature_cross_entropy",
    "class_temperatures",
    "compare",
    "conformal_thresholds",
    "crossval",
    "curve",
    "cutmix",
    "decision_reliability",
    "deferred_weights",
    "diagnose",
    "diagnose_case",
    "effective_number_weights",
    "epoch_order",
    "evaluate_predictions",
    "evaluate_sets",
    "find_label_errors",
    "find_offsets",
    "first_late_epoch",
    "fit_temperature",
    "fitted_prior",
    "focal_loss",
    "inverse_frequency_weights",
    "label_aware_cross_entropy",
    "label_aware_smoothing",
    "ldam_loss",
    "ldam_margins",
    "learn_scales",
    "load_average",
    "load_image",
    "load_model",
    "log_prior",
    "logit_adjusted_cross_entropy",
    "mixup",
    "progressive_order",
    "progressive_power",
    "rank_share",
    "read_table",
    "remix",
    "remix_shares",
    "repeat_factor_order",
    "repeat_factor_prior",
    "repeat_factors",
    "resume",
    "retrain_head",
    "sampled_prior",
    "shift_prior",
    "square_root_weights",
    "stream_prior",
    "sweep_tau",
    "tau_normalised",
    "train",
    "watch",
    "weighted_cross_entropy",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'everyclass' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
