"""Why a live training fails: `everyclass.diagnose` for any loop or notebook.

Comes in: a model, batches, a loss function and the optimizer, as a training loop has them. Goes
out: a `Diagnosis`. Everything is done on copies.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from torch import Tensor, nn
from torch.optim import Optimizer

from everyclass.contracts import Verdict
from everyclass.diagnoses import Diagnosis
from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.diagnose import diagnose_case
from everyclass.diagnosis.given import Batch, LossFunction, live_case
from everyclass.diagnosis.material import Material, unwrapped
from everyclass.diagnosis.snapshot import untouched
from everyclass.errors import InputError

MOST_BATCHES = 256
"""Of a loader; further ones are not drawn."""


def diagnose(
    model: nn.Module,
    batches: Iterable[Batch],
    loss_fn: LossFunction | None,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    *,
    evaluation_batches: Iterable[Batch] = (),
    initial_state: Mapping[str, Tensor] | None = None,
    classes: Sequence[str] = (),
    class_counts: Sequence[int] | None = None,
    steps: int | None = None,
    verdict: Verdict | None = None,
    budget_seconds: float = 20.0,
    seed: int = 0,
    on_trial: Callable[[str], None] | None = None,
) -> Diagnosis:
    """Find out by experiment why this model does not learn.

    The checks of `check` run first; then copies of the training are trained for a few hundred
    batches with one thing changed each, beside an unchanged copy.

    Args:
        model: on any device.
        batches: (inputs, targets) as the training loop has them, augmentation and all: the training
            loader itself will do. 256 at most are drawn, 4 are needed; a fourth of them judges.
        loss_fn: (what the model returns, targets) -> loss. None when the model computes its own
            loss from `labels` and returns it as `.loss`.
        optimizer: one, several, or None when there is none yet.
        evaluation_batches: of the validation loader: they tell a mismatch of preprocessing, and
            whether the augmentation leaves enough.
        initial_state: `model.state_dict()` from before the first step, copied. Without it copies
            begin at the weights as they are, and what ruined these is not seen.
        classes: names in the order of the outputs.
        class_counts: (C,) images per class in the training set.
        steps: optimizer steps that the training made; None when not known.
        verdict: of a monitor, see `Summary.verdict`; `starved` makes classes without recall count.
        budget_seconds: for the experiments, above 0.
        seed: of everything that they draw.
        on_trial: called with the name of each side of an experiment as its training begins.
    Returns:
        Causes with the likeliest first, each proved or suspected; `print` it, or let a notebook
        show it. Model, optimizer and random states are what they were.
    Raises:
        InputError: an argument is of the wrong kind, or the model cannot take a batch.
    Example:
        >>> diagnosis = diagnose(model, loader, F.cross_entropy, optimizer)  # doctest: +SKIP
        >>> print(diagnosis)  # doctest: +SKIP
    """
    if not budget_seconds > 0:
        raise InputError(
            f"budget_seconds is {budget_seconds}.", remedy="Pass seconds above 0, as 20."
        )
    case = live_case(
        model,
        [(f"batch {i}", one) for i, one in enumerate(islice(batches, MOST_BATCHES))],
        loss_fn,
        optimizer,
        evaluation=[
            (f"evaluation batch {i}", one)
            for i, one in enumerate(islice(evaluation_batches, MOST_BATCHES))
        ],
        classes=classes,
        class_counts=class_counts,
        initial_state=None if initial_state is None else copy.deepcopy(dict(initial_state)),
    )
    if not case.batches:
        raise InputError("batches holds no batch.", remedy="Pass the training loader.")
    with untouched(unwrapped(model), case.optimizers):
        try:
            n_outputs = Material(case).n_outputs
        except NotApplicable as lack:
            raise InputError(
                lack.reason, remedy="Pass batches as the training loop has them."
            ) from lack
    case = replace(case, n_classes=case.n_classes or max(2, n_outputs), steps=steps, forwards=steps)
    return diagnose_case(
        case,
        verdict=verdict,
        classes=classes,
        budget_seconds=budget_seconds,
        seed=seed,
        on_trial=on_trial,
    )
