"""The public names as pages of the reference, by theme.

Comes in: nothing. Goes out: Markdown with mkdocstrings' directives: signature and docstring are
read from the source when the site is built. A test holds that every public name has one theme.
"""

from __future__ import annotations

THEMES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "diagnosis": (
        "Watching and diagnosis",
        "What `everyclass run` does to a script, for your own loop or notebook.",
        (
            "Monitor",
            "watch",
            "check",
            "diagnose",
            "check_case",
            "diagnose_case",
            "Diagnosis",
            "Finding",
            "CheckResult",
        ),
    ),
    "images": (
        "Images and audit",
        "From files to a table, a split and a list of what is the matter. Needs no torch.",
        (
            "read_table",
            "ImageTable",
            "assign_splits",
            "assign_folds",
            "load_image",
            "audit_images",
            "Audit",
        ),
    ),
    "training": (
        "Training and whole workflows",
        "The commands as functions.",
        (
            "train",
            "resume",
            "TrainOptions",
            "DataSource",
            "Recipe",
            "load_model",
            "compare",
            "CompareOptions",
            "Comparison",
            "curve",
            "CurveOptions",
            "crossval",
            "CrossvalOptions",
            "CrossValidation",
            "TrainingView",
            "write_report",
        ),
    ),
    "losses": (
        "Losses and class weights",
        "Tensors in, a mean over samples out.",
        (
            "weighted_cross_entropy",
            "logit_adjusted_cross_entropy",
            "focal_loss",
            "ClassBalancedFocalLoss",
            "ldam_loss",
            "ldam_margins",
            "CosineLinear",
            "label_aware_cross_entropy",
            "label_aware_smoothing",
            "class_temperature_cross_entropy",
            "class_temperatures",
            "balanced_weights",
            "effective_number_weights",
            "inverse_frequency_weights",
            "square_root_weights",
            "deferred_weights",
            "first_late_epoch",
        ),
    ),
    "sampling": (
        "Sampling and mixing",
        "Orders of an epoch (seeded, resumable, divided among processes), and mixed images.",
        (
            "epoch_order",
            "progressive_order",
            "progressive_power",
            "sampled_prior",
            "repeat_factor_order",
            "repeat_factor_prior",
            "repeat_factors",
            "rank_share",
            "mixup",
            "cutmix",
            "remix",
            "remix_shares",
            "Mixed",
        ),
    ),
    "after-training": (
        "After training",
        "Priors, heads and averages: what can be corrected without training the network again.",
        (
            "log_prior",
            "shift_prior",
            "stream_prior",
            "fitted_prior",
            "sweep_tau",
            "find_offsets",
            "Offsets",
            "retrain_head",
            "learn_scales",
            "tau_normalised",
            "HeadTraining",
            "average_states",
            "load_average",
        ),
    ),
    "judging": (
        "Judging predictions",
        "Arrays in, figures of every class out; of any classifier's predictions.",
        (
            "evaluate_predictions",
            "Evaluation",
            "fit_temperature",
            "decision_reliability",
            "calibration_scores",
            "CalibrationScores",
            "conformal_thresholds",
            "ConformalThresholds",
            "evaluate_sets",
            "find_label_errors",
        ),
    ),
    "errors": ("Errors", "What bad input raises.", ("EveryclassError", "InputError")),
}
"""Pages of the reference by file name: title, one sentence, and its names in order."""

_INDEX = """# Reference

Everything below is imported from `everyclass` and loaded when it is first used; what needs no torch
never loads it. Docstrings give shapes, types, ranges, errors and the source of each formula.

| theme | names |
|---|---|
"""


def pages() -> dict[str, str]:
    """Markdown by path in the site."""
    found = {"reference/index.md": _INDEX + "\n".join(map(_row, THEMES)) + "\n"}
    for file, (title, sentence, names) in THEMES.items():
        entries = "\n".join(f"::: everyclass.{name}\n" for name in names)
        found[f"reference/{file}.md"] = f"# {title}\n\n{sentence}\n\n{entries}"
    return found


def _row(file: str) -> str:
    title, _, names = THEMES[file]
    links = ", ".join(f"[`{name}`]({file}.md#everyclass.{name})" for name in names)
    return f"| [{title}]({file}.md) | {links} |"
