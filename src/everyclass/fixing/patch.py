"""Changes that helped in trials -> the text of a patched copy.

Comes in: a script's text, names of changes (as trials call them), `Facts`. Goes out: a `Patch`, or
NotEditable with the reason. Reads and writes no file.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from everyclass.fixing.activation import logits_to_the_loss, no_last_activation
from everyclass.fixing.facts import Edit, Facts
from everyclass.fixing.inputs import standardise
from everyclass.fixing.loss import (
    balanced_weights,
    log_softmax_added,
    prior_corrected,
    targets_in_shape,
    without_smoothing,
    without_weights,
)
from everyclass.fixing.network import hidden_relu, no_dropout, standard_initialisation
from everyclass.fixing.optimizer import constant_rate, no_weight_decay, rate_times, to_adam
from everyclass.fixing.parameters import attach_parameters, unfreeze
from everyclass.fixing.source import NotEditable, Script
from everyclass.fixing.step import clear_gradients, clip_gradients, step_every_pass
from everyclass.fixing.stream import shuffle

Maker = Callable[[Script, Facts], Edit]

MAKERS: Mapping[str, Maker] = {
    "probabilities-to-logits": logits_to_the_loss,
    "log-softmax-added": log_softmax_added,
    "before-the-last-activation": no_last_activation,
    "parameters-attached": attach_parameters,
    "parameters-unfrozen": unfreeze,
    "gradients-cleared": clear_gradients,
    "step-every-pass": step_every_pass,
    "targets-in-shape": targets_in_shape,
    "weights-removed": without_weights,
    "weights-balanced": balanced_weights,
    "smoothing-removed": without_smoothing,
    "shuffled": shuffle,
    "inputs-standardised": standardise,
    "weight-decay-off": no_weight_decay,
    "rate-constant": constant_rate,
    "rate-tenth": rate_times(0.1),
    "rate-hundredth": rate_times(0.01),
    "rate-ten-times": rate_times(10.0),
    "rate-hundred-times": rate_times(100.0),
    "prior-corrected": prior_corrected,
    "initialised-anew": standard_initialisation,
    "hidden-relu": hidden_relu,
    "gradients-clipped": clip_gradients,
    "adam": to_adam,
    "dropout-off": no_dropout,
}
"""Name of a trial's change -> the edit that makes it in a script."""

MARK = "# A patched copy, made by everyclass run --fix from "
_LEADING = re.compile(r"(?:#!.*(?:\r\n|\r|\n))?(?:[ \t\f]*#.*?coding[:=].*(?:\r\n|\r|\n))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A script changed.

    Attributes:
        text: of the whole, without the mark.
        sentences: what each edit does.
    """

    text: str
    sentences: tuple[str, ...]


def patched(text: str, changes: Sequence[str], facts: Facts) -> Patch:
    """The script with these changes.

    Raises:
        NotEditable: one of them cannot be expressed as an edit.
    """
    script = Script(text)
    edits = []
    for name in changes:
        maker = MAKERS.get(name)
        if maker is None:
            raise NotEditable("This change is none that can be written as an edit of a script.")
        edits.append(maker(script, facts))
    done = script.applied(splice for one in edits for splice in one.splices)
    if done == text:
        raise NotEditable("The edit would leave the script as it is.")
    return Patch(text=done, sentences=tuple(one.sentence for one in edits))


def marked(text: str, original: str) -> str:
    """The text with a first line that tells whose copy it is; behind `#!` and the encoding."""
    newline = "\r\n" if "\r\n" in text else "\n"
    found = _LEADING.match(text)
    at = 0 if found is None else found.end()
    return f"{text[:at]}{MARK}{original}; that one is unchanged.{newline}{text[at:]}"


def is_ours(text: str) -> bool:
    """Whether a file is a copy that was made here."""
    return any(line.startswith(MARK) for line in text.splitlines()[:3])


def difference(before: str, after: str, *, old_name: str, new_name: str) -> str:
    """A unified diff, with three lines around each change."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), old_name, new_name, lineterm="", n=3
    )
    return "\n".join(lines) + "\n"
