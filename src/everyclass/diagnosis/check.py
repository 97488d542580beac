"""Exact checks of a training: what is wrong with its form, before or after it ran.

Comes in: a live model with a batch (`check`), or a `Case` (`check_case`). Goes out: one
`CheckResult` per check. Takes seconds and leaves model, optimizer, BatchNorm statistics and random
states untouched. Knows no trial: what a batch cannot show (rates, unrelated labels, imbalance,
capacity) is not guessed at.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer

from everyclass.diagnosis.answers import Check, NotApplicable
from everyclass.diagnosis.case import CapturedBatch, Case
from everyclass.diagnosis.causes import (
    evaluation,
    fitting,
    imbalance,
    inputs,
    labels,
    loss,
    network,
    optimizer,
    outputs,
    rate,
    rows,
    stream,
)
from everyclass.diagnosis.material import Material, fits, loaded, unwrapped
from everyclass.diagnosis.nested import scores_in, tensors_in
from everyclass.diagnosis.snapshot import untouched
from everyclass.errors import InputError
from everyclass.findings import CheckResult

CHECKS: tuple[Check, ...] = (
    *network.CHECKS[:1],
    *labels.CHECKS,
    *loss.CHECKS,
    *outputs.CHECKS,
    *optimizer.CHECKS,
    *rate.CHECKS,
    *inputs.CHECKS,
    *stream.CHECKS,
    *imbalance.CHECKS,
    *rows.CHECKS,
    *network.CHECKS[1:],
    *evaluation.CHECKS,
    *fitting.CHECKS,
)
"""Every check, exact and cheap ones first."""

TARGET_KEYS = ("labels", "label", "targets", "target", "y")

Batch = tuple[Any, Tensor] | Sequence[Any] | Mapping[str, Any]


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
    loss_fn: Callable[[Any, Tensor], Tensor] | None,
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
    _require(isinstance(model, nn.Module), f"model is {_kind(model)}.", "Pass a torch.nn.Module.")
    _require(
        not any(isinstance(p, UninitializedParameter) for p in model.parameters()),
        "The model has lazy layers that have seen no batch yet.",
        "Send one batch through it first.",
    )
    own_loss = loss_fn is None
    _require(own_loss or callable(loss_fn), f"loss_fn is {_kind(loss_fn)}.", "Pass a function.")
    counts = None if class_counts is None else tuple(int(one) for one in class_counts)
    _require(
        counts is None or not classes or len(counts) == len(classes),
        f"{len(counts or ())} class_counts for {len(classes)} classes.",
        "Give one count a class.",
    )
    case = Case(
        model=model,
        optimizers=_optimizers(optimizer),
        loss_function=_own_loss if loss_fn is None else _fitted(loss_fn),
        n_classes=len(classes) or (len(counts) if counts else None),
        batches=(_captured(batch, "batch", keep_targets=own_loss),),
        evaluation=()
        if evaluation_batch is None
        else (_captured(evaluation_batch, "evaluation_batch", keep_targets=own_loss),),
        class_counts=counts,
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


def _captured(batch: Batch, name: str, *, keep_targets: bool) -> CapturedBatch:
    """The batch in the form of captured ones."""
    inputs, targets = _parted(batch, name)
    _require(
        isinstance(targets, Tensor),
        f"The targets of {name} are {_kind(targets)}.",
        "Pass a tensor.",
    )
    if isinstance(batch, Mapping) and keep_targets:
        inputs = dict(batch)  # the model computes its own loss from the targets
    tensors = list(tensors_in(inputs))
    _require(bool(tensors), f"{name} holds no input tensor.", "Pass (inputs, targets).")
    sizes = {tensor.shape[0] for tensor in tensors if tensor.ndim}
    _require(
        targets.ndim == 0 or targets.shape[0] in sizes,
        f"{name} has {targets.shape[0] if targets.ndim else 1} targets for inputs of "
        f"{sorted(sizes)} rows.",
        "Pass inputs and targets of the same images.",
    )
    if isinstance(inputs, Mapping):
        return CapturedBatch(args=(), keywords=dict(inputs), targets=targets)
    args = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    return CapturedBatch(args=args, targets=targets)


def _parted(batch: Batch, name: str) -> tuple[Any, Any]:
    if isinstance(batch, Mapping):
        key = next((one for one in TARGET_KEYS if one in batch), None)
        _require(
            key is not None,
            f"{name} is a dict without targets (keys: {', '.join(map(str, batch))}).",
            "Name them 'labels', or pass (inputs, targets).",
        )
        return {k: value for k, value in batch.items() if k != key}, batch[str(key)]
    _require(
        isinstance(batch, (tuple, list)) and len(batch) == 2,
        f"{name} is {_kind(batch)}, not (inputs, targets).",
        "Pass (inputs, targets); several inputs go into a tuple or a dict.",
    )
    return batch[0], batch[1]


def _optimizers(optimizer: Optimizer | Sequence[Optimizer] | None) -> tuple[Optimizer, ...]:
    if optimizer is None:
        return ()
    given = tuple(optimizer) if isinstance(optimizer, (tuple, list)) else (optimizer,)
    for one in given:
        _require(
            isinstance(one, Optimizer),
            f"optimizer is {_kind(one)}.",
            "Pass a torch.optim.Optimizer, or several in a list.",
        )
    return given


def _own_loss(outputs: Any, targets: Tensor) -> Tensor:
    """The loss that the model computed itself."""
    found = outputs.get("loss") if isinstance(outputs, Mapping) else getattr(outputs, "loss", None)
    if not isinstance(found, Tensor):
        raise TypeError(
            f"loss_fn is None and the model's output ({type(outputs).__name__}) has no loss."
        )
    return found


def _fitted(loss_fn: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """Torch's own losses take tensors: of a structured output they get the scores."""
    home = getattr(loss_fn, "__module__", None) or type(loss_fn).__module__
    if not str(home).startswith("torch.nn"):
        return loss_fn

    def fitted(outputs: Any, targets: Tensor) -> Tensor:
        n_rows = targets.shape[0] if targets.ndim else None
        scores = outputs if isinstance(outputs, Tensor) else scores_in(outputs, n_rows=n_rows)
        return loss_fn(scores, targets)

    return fitted


def _kind(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"of type {type(value).__name__}"


def _require(fact: bool, otherwise: str, remedy: str) -> None:
    if not fact:
        raise InputError(otherwise, where="check", remedy=remedy)
