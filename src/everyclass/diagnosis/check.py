"""Exact checks of a training: what is wrong with its form, before or after it ran.

Comes in: a live model with a batch (`check`), or a `Case` (`check_case`). Goes out: one
`CheckResult` per check. Takes seconds and leaves model, optimizer, BatchNorm statistics and random
states untouched. Knows no trial: what a batch cannot show (rates, unrelated labels, imbalance,
capacity) is not guessed at.
"""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from everyclass.diagnosis.answers import Check, NotApplicable
from everyclass.diagnosis.case import Case
from everyclass.diagnosis.causes import (
    augmentation,
    checkpoint,
    clipping,
    evaluation,
    fitting,
    imbalance,
    inputs,
    labels,
    loss,
    network,
    optimizer,
    outputs,
    own_loss,
    precision,
    rate,
    rows,
    sampler,
    step_size,
    stream,
)
from everyclass.diagnosis.given import Batch, LossFunction, live_case
from everyclass.diagnosis.material import Material, fits, loaded, unwrapped
from everyclass.diagnosis.snapshot import untouched
from everyclass.errors import InputError
from everyclass.findings import CheckResult

CHECKS: tuple[Check, ...] = (
    *network.CHECKS[:1],
    *labels.CHECKS,
    *loss.CHECKS,
    *own_loss.CHECKS,
    *outputs.CHECKS,
    *optimizer.CHECKS,
    *checkpoint.CHECKS,
    *clipping.CHECKS,
    *precision.CHECKS,
    *rate.CHECKS,
    *step_size.CHECKS,
    *inputs.CHECKS,
    *stream.CHECKS,
    *imbalance.CHECKS,
    *sampler.CHECKS,
    *rows.CHECKS,
    *network.CHECKS[1:],
    *evaluation.CHECKS,
    *augmentation.CHECKS,
    *fitting.CHECKS,
)
"""Every check, exact and cheap ones first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What all checks found.

    Attributes:
        results: one per check, in the order of `CHECKS`.
        seconds: it took.
    """

    results: tuple[CheckResult, ...]
    seconds: float

    @property
    def issues(self) -> tuple[CheckResult, ...]:
        """The accusations."""
        return self._of("issue")

    @property
    def passed(self) -> tuple[CheckResult, ...]:
        """Checks that found nothing to accuse."""
        return self._of("passed")

    @property
    def not_applicable(self) -> tuple[CheckResult, ...]:
        """Checks that lacked something, with the reason."""
        return self._of("not-applicable")

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "seconds": self.seconds,
            "results": [result.to_dict() for result in self.results],
        }

    def __str__(self) -> str:
        lines = [self._headline()]
        for result in self.issues:
            lines += [f"  {result.cause}: {result.sentence}", f"    -> {result.remedy}"]
        if self.passed:
            lines.append(f"Passed: {', '.join(result.name for result in self.passed)}.")
        if self.not_applicable:
            lines.append("Not applicable:")
            lines += [f"  {result.name}: {result.sentence}" for result in self.not_applicable]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        issues = "".join(
            f"<li><b>{html.escape(str(one.cause))}</b>: {html.escape(one.sentence)}"
            f"<br><i>{html.escape(one.remedy)}</i></li>"
            for one in self.issues
        )
        passed = ", ".join(html.escape(one.name) for one in self.passed)
        lacking = "".join(
            f"<li>{html.escape(one.name)}: {html.escape(one.sentence)}</li>"
            for one in self.not_applicable
        )
        return (
            f"<p><b>{html.escape(self._headline())}</b></p><ul>{issues}</ul>"
            f"<p>Passed: {passed or 'none'}.</p>"
            f"<details><summary>Not applicable: {len(self.not_applicable)}</summary>"
            f"<ul>{lacking}</ul></details>"
        )

    def _of(self, outcome: str) -> tuple[CheckResult, ...]:
        return tuple(result for result in self.results if result.outcome == outcome)

    def _headline(self) -> str:
        n = len(self.issues)
        found = "no issue" if n == 0 else f"{n} issue" if n == 1 else f"{n} issues"
        return f"{len(self.results)} checks, {found} ({self.seconds:.1f} s)"


def check(
    model: nn.Module,
    batch: Batch,
    loss_fn: LossFunction | None,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    *,
    evaluation_batch: Batch | None = None,
    classes: Sequence[str] = (),
    class_counts: Sequence[int] | None = None,
    initial: bool = False,
) -> CheckReport:
    """Run every check that applies to a live model and one batch.

    Args:
        model: on any device; its mode does not matter.
        batch: (inputs, targets) as the training loop has them; inputs may be a tuple (several
            arguments) or a dict (keywords). Or one dict, as a Hugging Face collator gives it, with
            the targets under `labels`.
        loss_fn: (what the model returns, targets) -> loss. None when the model computes its own
            loss from `labels` and returns it as `.loss`.
        optimizer: one, several, or None when there is none yet.
        evaluation_batch: the same of the validation loader; its preprocessing is compared.
        classes: names in the order of the outputs.
        class_counts: (C,) images per class in the training set.
        initial: the weights are those that training starts with (fresh or loaded): then the first
            loss and the signal's way through the network are judged too.
    Returns:
        One result a check. Model, optimizer, BatchNorm statistics, gradients and random states are
        what they were.
    Raises:
        InputError: an argument is of the wrong kind, or the model cannot take the batch.
    Example:
        >>> report = check(model, next(iter(loader)), F.cross_entropy, optimizer)  # doctest: +SKIP
        >>> print(report)  # doctest: +SKIP
    """
    start = time.monotonic()
    case = live_case(
        model,
        (("batch", batch),),
        loss_fn,
        optimizer,
        evaluation=() if evaluation_batch is None else (("evaluation_batch", evaluation_batch),),
        classes=classes,
        class_counts=class_counts,
    )
    with untouched(unwrapped(model), case.optimizers):
        material = Material(case, initial=initial, classes=tuple(classes))
        try:
            _ = material.training
        except NotApplicable as lack:
            raise InputError(
                lack.reason, where="check", remedy="Pass a batch as the training loop has it."
            ) from lack
        results = _run_all(material)
    return CheckReport(results=results, seconds=time.monotonic() - start)


def check_case(case: Case) -> tuple[CheckResult, ...]:
    """Run every check that applies to captured material; see `Case` for what each field adds.

    The model's weights are taken as they are now; where the case has the initial ones, the first
    loss and the signal through the network are judged at these.
    """
    with untouched(unwrapped(case.model), case.optimizers):
        return _run_all(Material(case))


def _run_all(material: Material) -> tuple[CheckResult, ...]:
    """Every check; those that compute with NaN go back to the initial weights, where known."""
    first, *others = CHECKS
    found = first.result(material)
    if found.outcome != "issue":
        return (found, *(one.result(material) for one in others))
    state = material.case.initial_state
    if found.evidence["kind"] == "weights" and state is not None and fits(material.model, state):
        with loaded(material.model, state):
            fresh = Material(material.case, initial=True, classes=material.classes)
            # What asks for no numbers is judged below, on the weights as they are.
            numbers = {one.name: one.result(fresh) for one in others if one.needs_finite}
        rest = (numbers.get(one.name) or one.result(material) for one in others)
        return (found, *rest)
    return (found, *(one.result(material, finite=False) for one in others))
