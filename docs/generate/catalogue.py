"""The catalogue of causes as a page, written from the code that knows them.

Comes in: the ids (`findings.CauseId`), the checks (`diagnosis.check.CHECKS`), the changes that
trials try (`diagnosis.changes`). Goes out: Markdown. Only a cause's meaning and its theme are
written here; a test holds that every id has both.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, get_args

from everyclass.diagnosis.answers import Check
from everyclass.diagnosis.changes import Change, changes
from everyclass.diagnosis.check import CHECKS
from everyclass.diagnosis.remedies import _WITHOUT_TRIAL
from everyclass.findings import CauseId

IDS: frozenset[str] = frozenset(get_args(CauseId))

THEMES: dict[str, dict[str, str]] = {
    "The images": {
        "inputs-not-scaled": "Values far from zero mean and unit variance reach the first layer, "
        "as when pixels of 0 to 255 are never divided.",
        "inputs-double-scaled": "Images are scaled twice (divided by 255 in the reader and again "
        "in the transform): almost no variance is left.",
        "inputs-constant": "The images of a batch are blank, or copies of one.",
        "train-eval-mismatch": "Validation images are preprocessed otherwise than training images: "
        "another scale, another order of channels, no normalisation.",
        "augmentation-too-strong": "The label does not survive the augmentation: the network is "
        "shown pictures that no longer show their class.",
        "non-finite": "NaN or infinity in inputs, weights, loss or gradients; the first place "
        "where it appears is named.",
    },
    "The labels and their order": {
        "labels-unrelated": "Labels that have nothing to do with the images: shuffled apart, "
        "joined by the wrong column, one place off.",
        "labels-out-of-range": "Label ids that do not fit the outputs, are shifted by one, or "
        "follow another order in evaluation than in training.",
        "stream-sorted": "Batches hold one class at a time, because nothing shuffles: the network "
        "answers with the latest.",
    },
    "Imbalance": {
        "class-imbalance": "The frequent classes dominate: correcting the prior, and nothing else, "
        "brings the rare ones back.",
        "loss-weights-wrong": "Class weights that go with the counts instead of against them, "
        "stand in another class order, are extreme, or meet label smoothing.",
        "double-correction": "A sampler evens the classes out and weights (or an adjustment) do so "
        "again: the prior is inverted.",
    },
    "The loss and what it is given": {
        "softmax-before-loss": "Probabilities are passed where the loss expects logits.",
        "output-activation-wrong": "The last layer cuts or squashes what the loss needs: a final "
        "ReLU or clamp, a softmax over one unit, a sigmoid where softmax belongs.",
        "loss-mismatch": "Loss, output layer and form of the targets disagree.",
        "targets-broadcast": "Outputs and targets of different shapes broadcast in the loss, so "
        "that each output is compared with every target.",
        "graph-detached": "The loss does not reach the parameters: detach, no_grad, or argmax "
        "inside it.",
    },
    "The optimizer and its steps": {
        "parameters-not-optimised": "Trainable parameters that no optimizer holds: the model was "
        "built again, or its head replaced, after the optimizer.",
        "parameters-frozen": "requires_grad is False where learning is needed.",
        "gradients-not-cleared": "No zero_grad: gradients of all steps add up.",
        "step-not-taken": "The optimizer never or rarely steps, or the gradient scaler skips every "
        "step.",
        "learning-rate-too-low": "Steps too small to get anywhere, from the start or since a "
        "scheduler drove them down.",
        "learning-rate-too-high": "Steps so large that they destroy what they change.",
        "weight-decay-too-strong": "Decay, or a penalty on the weights, outweighs the gradient.",
        "precision-loss": "Steps vanish in half precision, or in its scale.",
    },
    "The network": {
        "poor-initialisation": "Zero, constant or badly scaled first weights: the signal vanishes "
        "or explodes with depth.",
        "dead-units": "ReLU layers in which no unit is active for any image.",
        "batchnorm-mismatch": "Training and evaluation mode disagree: tiny or one-class batches, "
        "stale statistics, a missing eval().",
        "batch-mixed": "An output depends on other rows of the batch: a view or reshape that mixes "
        "images, attention along the wrong axis.",
        "weights-not-loaded": "Names in a checkpoint do not fit and are dropped in silence: the "
        "network is random.",
        "dropout-too-strong": "So much is dropped at random in training that hardly anything is "
        "left to learn from.",
        "model-too-small": "Nothing is wrong but the network's capacity.",
        "undertrained": "Nothing is wrong but the time: it needs more passes.",
    },
}
"""Each cause and what it means."""

_HEAD = """# Causes, and the evidence each needs

A training that predicts one class, or leaves classes out, has a symptom with {n} possible causes.
Imbalance is one of them, and not the usual one: in 125 public threads about such trainings it was
named as the cause in 3 of 129 statements. `everyclass run train.py` looks for all {n}.

This page is written from the code when the site is built: the checks, the changes and the remedies
are those that run.

**Seen.** *Checks* look at the form of a training, exactly and in seconds: before the first step,
and again on what was captured. A check accuses, or passes, or says what it lacked. What it accuses
is a *suspicion*.

**Proved.** Where something is wrong, copies of the model and the optimizer are trained again from
the same start on the captured batches, each with one *change*, beside an unchanged control. A cause
is called proved when, on captured images that neither was trained on,

1. the 95 % interval of the gain lies above zero,
2. the change leaves the collapse and the control does not,
3. this holds in two orders of the batches,
4. another order alone does not help, nor does the change with permuted labels.

What falls short of that is called suspected, with the figures. What the learned weights show
without further training (evaluation images preprocessed otherwise, say) is judged on the weights as
they are. How often the first cause named is the right one, and how often it is not, is in
[Results](benchmarks/RESULTS.md#scripts-that-somebody-else-wrote-whole).

"""

_BEYOND_TRIALS = {
    "labels-unrelated": "Proved without a change too: a small residual network of ours learns the "
    "images by heart and recognises no others, with the right labels as little as with permuted "
    "ones.",
    "augmentation-too-strong": "Proved without a change too: a small residual network of ours "
    "tells evaluation images apart and the augmented training images not.",
    "model-too-small": "Never proved, only suspected: no change helps, and a larger network of "
    "ours tells the same images apart.",
}


def page() -> str:
    """The page in Markdown."""
    parts = [_HEAD.format(n=len(IDS))]
    by_check = _checks_by_cause()
    by_change = _changes_by_cause()
    for theme, meanings in THEMES.items():
        parts.append(f"## {theme}\n")
        for cause, meaning in meanings.items():
            parts.append(_entry(cause, meaning, by_check[cause], by_change[cause]))
    return "\n".join(parts)


def _entry(cause: str, meaning: str, checks: list[Check], tried: list[Change]) -> str:
    lines = [f"### {cause}\n", f"{meaning}\n"]
    if checks:
        lines.append("Checks that can accuse it:\n")
        lines += [f"- `{one.name}`: {_first_sentence(one.run)}" for one in checks]
        lines.append("")
    else:
        lines.append("No check can see it: it has no form of its own. Trials show it.\n")
    trained = [one for one in tried if not one.at_once]
    judged = [one for one in tried if one.at_once]
    if trained:
        lines.append("A trial can prove it by training a copy with:\n")
        lines += [f"- {one.words}. *{one.remedy}*" for one in trained]
        lines.append("")
    if judged:
        lines.append("A trial can prove it on the weights as they are, with:\n")
        lines += [f"- {one.words}. *{one.remedy}*" for one in judged]
        lines.append("")
    if not tried and cause not in _BEYOND_TRIALS:
        lines.append("No trial proves it: it stays a suspicion, with the check's evidence.\n")
    if cause in _BEYOND_TRIALS:
        lines.append(f"{_BEYOND_TRIALS[cause]}\n")
    advice = _WITHOUT_TRIAL.get(cause)  # type: ignore[call-overload]
    if advice and not any(one.remedy == advice for one in tried):
        lines.append(f"To do: {advice}\n")
    return "\n".join(lines)


def _checks_by_cause() -> dict[str, list[Check]]:
    found: dict[str, list[Check]] = {cause: [] for cause in IDS}
    for one in CHECKS:
        for cause in causes_in(one.run):
            found[cause].append(one)
    return found


def _changes_by_cause() -> dict[str, list[Change]]:
    found: dict[str, list[Change]] = {cause: [] for cause in IDS}
    for one in changes():
        others = set() if one.cause_of is None else causes_in(one.cause_of)
        for cause in {one.cause, *others}:
            found[cause].append(one)
    return found


def causes_in(function: Callable[..., Any]) -> set[str]:
    """The causes that a function, and those of its own module that it calls, can name."""
    return {
        node.value
        for each in _reached(function, set())
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(each))))
        if isinstance(node, ast.Constant) and node.value in IDS
    }


def _reached(function: Callable[..., Any], seen: set[Callable[..., Any]]) -> Iterator[FunctionType]:
    function = inspect.unwrap(function)
    if not isinstance(function, FunctionType) or function in seen:
        return
    seen.add(function)
    yield function
    home = vars(sys.modules[function.__module__])
    for name in function.__code__.co_names:
        other = home.get(name)
        if isinstance(other, FunctionType) and other.__module__ == function.__module__:
            yield from _reached(other, seen)


def _first_sentence(function: Callable[..., Any]) -> str:
    """The first paragraph of its docstring, on one line."""
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
