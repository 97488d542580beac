"""What each peer's messages mean in our words: a table written before any faulty script was run.

Comes in: what a peer said. Goes out: whether that accuses the run, and the causes it names, in
order. Standard library only.

Generous to the peer: a message counts for every cause that it plausibly names, in the order in
which the message does; messages count from "warning" up, the graver first, then as they were said.
`ADVICE` holds what says nothing about whether the training works (speed, memory, style): it neither
accuses nor names. A message without a cause in the catalogue (overfitting, for one) accuses only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

HIGH, LOW = "learning-rate-too-high", "learning-rate-too-low"
DEAD, START = "dead-units", "poor-initialisation"
FROZEN, LEFT_OUT = "parameters-frozen", "parameters-not-optimised"
DETACHED, NO_STEP = "graph-detached", "step-not-taken"
CONSTANT, RAW, FLAT = "inputs-constant", "inputs-not-scaled", "inputs-double-scaled"
UNRELATED, RANGE, SORTED = "labels-unrelated", "labels-out-of-range", "stream-sorted"
SOFTMAX, OUTPUT, MISMATCH = "softmax-before-loss", "output-activation-wrong", "loss-mismatch"
BROADCAST, MIXED, NORM = "targets-broadcast", "batch-mixed", "batchnorm-mismatch"
INFINITE, HALF, PRIOR = "non-finite", "precision-loss", "class-imbalance"
DECAY, SMALL, EVALUATION = "weight-decay-too-strong", "model-too-small", "train-eval-mismatch"

GRAVITY = {"error": 0, "warning": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a run's messages came to.

    Attributes:
        flagged: the peer said, at warning level or above, that something is wrong.
        causes: ids it named, in order, each once.
    """

    flagged: bool
    causes: tuple[str, ...]


Rule = tuple[str, str, tuple[str, ...]]
"""(the check's name, what its text contains, both regular expressions; causes). The first that fits
a message counts."""

ADVICE: dict[str, str] = {
    "runmedic": r"input_bound|slow_steps|slowdown|memory_growth|constant_lr_plateau",
    "torch-audit": r"TA000|TA20[0-3]|TA40[0-4]",
    "traintools": r"stop|noise",
}

RULES: dict[str, tuple[Rule, ...]] = {
    "runmedic": (
        ("non_finite", r"very first steps", (INFINITE, START)),
        ("non_finite", r"learning rate is too high|LR schedule never stops", (HIGH, INFINITE)),
        ("non_finite", r"", (INFINITE, HALF)),
        ("divergence", r"", (HIGH, DECAY, SORTED)),
        (
            "no_learning",
            r"learning rate is 0",
            (LOW, NO_STEP, FROZEN, LEFT_OUT, DETACHED, UNRELATED),
        ),
        (
            "no_learning",
            r"not connected to the loss",
            (DETACHED, NO_STEP, FROZEN, LEFT_OUT, LOW, UNRELATED),
        ),
        ("no_learning", r"", (NO_STEP, FROZEN, LEFT_OUT, LOW, UNRELATED)),
        ("loss_spikes", r"", (HIGH,)),
        ("grad_spikes", r"", (HIGH, START)),
    ),
    "traintools": (
        ("batch", r"non-finite", (INFINITE,)),
        ("batch", r"^inputs.*abs max", (RAW,)),
        ("batch", r"^inputs.*nearly constant", (CONSTANT, FLAT)),
        ("batch", r"^targets.*nearly constant", (SORTED,)),
        ("batch", r"dominant class", (SORTED, PRIOR)),
        ("batch", r"labels outside", (RANGE,)),
        ("gradient", r"non-finite", (INFINITE,)),
        ("gradient", r"vanished", (DEAD, START, DETACHED)),
        ("gradient", r"very large", (HIGH, START)),
        ("gradient", r"ratio is high", (HIGH,)),
        ("gradient", r"ratio is tiny", (LOW,)),
        ("gradient", r"no gradients", (DETACHED, FROZEN)),
        ("plasticity", r"(?i)dormant", (DEAD, START)),
        ("plasticity", r"", (START, DEAD)),
    ),
    "torchtest2": (
        ("output_finite", r"", (INFINITE,)),
        ("output_varies", r"", (CONSTANT, DEAD, START)),
        ("eval_determinism", r"", (EVALUATION,)),
        ("loss", r"out of bounds|out of range", (RANGE,)),
        ("loss", r"autograd graph|leaf tensor", (DETACHED,)),
        ("loss", r"must be a scalar", (MISMATCH, BROADCAST)),
        ("loss", r"the loss is (nan|-?inf)", (INFINITE,)),
        ("loss", r"", (MISMATCH,)),
        ("initial_loss", r"much larger", (START, RAW)),
        ("optimizer_coverage", r"", (LEFT_OUT,)),
        ("gradient_flow", r"all-zero gradient", (DEAD, START)),
        ("gradient_flow", r"", (DETACHED, FROZEN)),
        ("gradient_magnitude", r"NaN/inf", (INFINITE,)),
        ("gradient_magnitude", r"", (START, RAW, HIGH)),
        ("params_change", r"exactly zero|vanishing", (DEAD, START)),
        ("params_change", r"", (LEFT_OUT, LOW, NO_STEP)),
        ("input_dependency", r"", (DEAD, CONSTANT)),
        ("batch_independence", r"", (MIXED, SOFTMAX)),
        ("overfit_batch", r"loss became", (HIGH, INFINITE)),
        ("overfit_batch", r"gradients became|detect_anomaly", (INFINITE, HIGH)),
        ("overfit_batch", r"did not decrease", (LOW, HIGH, LEFT_OUT, MISMATCH)),
        ("overfit_batch", r"did not reach", (SMALL, LOW)),
    ),
    "torch-audit": (
        ("TA100", r"", (INFINITE, HIGH, START)),
        ("TA102", r"", (HIGH,)),
        ("TA104", r"", (DETACHED, FROZEN)),
        ("TA105", r"", (DEAD,)),
        ("TA301", r"", (RAW,)),
        ("TA302", r"", (CONSTANT, FLAT)),
        ("TA303", r"", (MIXED,)),
        ("TA304", r"", (NORM,)),
        ("TA405", r"", (DEAD, START)),
        ("TA501", r"", (NORM,)),
    ),
    "torchdiag": (
        ("summary", r"ALL parameters are frozen", (FROZEN,)),
        ("gradients", r"gradient is None", (DETACHED, LEFT_OUT)),
        ("gradients", r"gradient max nan", (INFINITE,)),
        ("gradients", r"exploding", (HIGH, START)),
        ("gradients", r"vanishing", (DEAD, START)),
        ("dead", r"neurons dead", (DEAD, HIGH, START, RAW)),
        ("step", r"not finite", (INFINITE,)),
        ("step", r"(None gradients|Backward pass)", (DETACHED, FROZEN)),
        ("step", r"No parameters changed", (NO_STEP, LEFT_OUT, LOW)),
        ("step", r"Loss.*out of bounds", (RANGE,)),
        ("step", r"Loss", (MISMATCH,)),
    ),
    "gradsnitch": (
        ("GS001", r"", (HIGH, INFINITE, HALF)),
        ("GS002", r"", (HIGH, INFINITE, HALF)),
        ("GS003", r"", (HIGH,)),
        ("GS005", r"", (LOW, DEAD, START, FROZEN, UNRELATED)),
        ("GS006", r"", (HIGH,)),
        ("GS007", r"", (DEAD, START, LOW)),
        ("GS008", r"too high", (HIGH,)),
        ("GS008", r"too low", (LOW,)),
        ("GS009", r"", (HIGH,)),
        ("GS010", r"", (LOW,)),
    ),
    "training-doctor": (
        ("lr_too_high", r"NaN or Inf", (HIGH, INFINITE)),
        ("lr_too_high", r"", (HIGH,)),
        ("lr_too_low", r"", (LOW, CONSTANT)),
        ("plateau", r"", (HIGH, SMALL, UNRELATED)),
        ("gradient_instability", r"NaN/Inf", (INFINITE, HIGH)),
        ("gradient_instability", r"Vanishing", (DEAD, START)),
        ("gradient_instability", r"", (HIGH,)),
    ),
    "torcheck": (
        ("check", r"belong to any optimizer", (LEFT_OUT,)),
        ("check", r"contains (NaN|inf)", (INFINITE,)),
        ("check", r"shouldn't all", (SOFTMAX, OUTPUT)),
        ("check", r"should change", (FROZEN, DETACHED, LOW)),
    ),
}


def heard(peer: str, said: Sequence[dict[str, Any]]) -> Heard:
    """What a peer's messages come to.

    Args:
        peer: its name.
        said: `Said`, as written into results.
    """
    advice = ADVICE.get(peer)
    counted = [
        one
        for one in said
        if one["level"] in GRAVITY and not (advice and re.fullmatch(advice, one["check"]))
    ]
    counted.sort(key=lambda one: GRAVITY[one["level"]])  # stable: then in the order said
    causes = [cause for one in counted for cause in _named(peer, one)]
    return Heard(flagged=bool(counted), causes=tuple(dict.fromkeys(causes)))


def _named(peer: str, one: dict[str, Any]) -> tuple[str, ...]:
    for check, text, causes in RULES.get(peer, ()):
        if re.fullmatch(check, one["check"]) and re.search(text, one["text"]):
            return causes
    return ()
