"""What the checks measure once and share.

Comes in: a `Case`. Goes out: passes, labels, counts and the facts that several checks ask for,
each computed when first wanted. Raises NotApplicable with the reason when something lacks.
Accuses nobody.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.case import CapturedBatch, Case, LossSpec
from everyclass.diagnosis.nested import map_tensors, plain_names, take_rows, tensors_in
from everyclass.diagnosis.rounding import Rounding, rounding_of
from everyclass.diagnosis.sightings import Layer
from everyclass.diagnosis.snapshot import borrowed
from everyclass.diagnosis.trace import Pass, PassError, run_pass

MOST_ROWS = 32
"""Of a batch in a pass: enough for every check, and seconds on a processor."""

ID_LOSSES = frozenset({"cross_entropy", "nll_loss", "multi_margin_loss"})
BINARY_LOSSES = frozenset({"binary_cross_entropy", "binary_cross_entropy_with_logits"})

LEARNED_SHARE = 0.7
"""Below this share of the best constant answer's loss a training has learned something."""


class Material:
    """A case, and what was measured on it.

    Args:
        case: see `Case`.
        initial: the model's weights are those it started with.
        classes: names, for sentences; may be empty.
    """

    def __init__(self, case: Case, *, initial: bool = False, classes: tuple[str, ...] = ()) -> None:
        self.case = case
        self.initial = initial
        self.classes = classes
        self.model = unwrapped(case.model)

    @cached_property
    def device(self) -> torch.device | None:
        """Of the model; None when it has several or no parameters."""
        devices = {parameter.device for parameter in self.model.parameters()}
        return devices.pop() if len(devices) == 1 else None

    @cached_property
    def batch(self) -> CapturedBatch:
        """The first training batch, on the model's device."""
        if not self.case.batches:
            raise NotApplicable("No training batch is known.")
        return self.on_device(self.case.batches[0])

    def on_device(self, batch: CapturedBatch) -> CapturedBatch:
        """The batch where the model is."""
        device = self.device
        if device is None:
            return batch

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device)

        return replace(
            batch,
            args=map_tensors(batch.args, moved),
            keywords=map_tensors(dict(batch.keywords), moved),
            targets=None if batch.targets is None else batch.targets.to(device),
        )

    @cached_property
    def small_batch(self) -> CapturedBatch:
        """The first rows of the batch, as many as passes use."""
        return first_rows(self.batch, MOST_ROWS)

    @cached_property
    def training(self) -> Pass:
        """The batch in training mode, with gradients, at the weights as they are."""
        return self._pass("train", with_gradients=True)

    @cached_property
    def evaluation(self) -> Pass:
        """The batch in evaluation mode, without gradients."""
        return self._pass("eval", with_gradients=False)

    @cached_property
    def undropped(self) -> Pass:
        """The batch without gradients and dropout, BatchNorm by the batch's own statistics."""
        return self._pass("batchnorm", with_gradients=False)

    @cached_property
    def start(self) -> Pass:
        """The batch in training mode at the initial weights."""
        if self.initial:
            return self.training
        state = self.case.initial_state
        if state is None:
            raise NotApplicable("The initial weights are not known.")
        with loaded(self.model, state):
            return self._pass("train", with_gradients=True)

    def _pass(self, mode: str, *, with_gradients: bool) -> Pass:
        for batch in (self.small_batch, self.batch):
            try:
                return run_pass(
                    self.model,
                    batch,
                    loss_function=self.case.loss_function,
                    mode=mode,
                    with_gradients=with_gradients,
                )
            except PassError as error:
                # A model may insist on its batch size; then the whole batch is tried.
                failure = error
                if batch is self.batch:
                    break
        raise NotApplicable(f"The model could not be run on the batch: {failure}") from failure

    @cached_property
    def first_layer(self) -> Layer:
        """The first layer that got floating numbers."""
        found = next((one for one in self.training.layers if one.inputs is not None), None)
        if found is None:
            raise NotApplicable("No layer with weights takes floating inputs.")
        return found

    @cached_property
    def head(self) -> Layer:
        """The last layer with a matrix."""
        found = self.training.last_matrix
        if found is None:
            raise NotApplicable("No layer with a weight matrix was seen to run.")
        return found

    @cached_property
    def rounding(self) -> Rounding | None:
        """How the weights are rounded; None where they are not."""
        state = self.case.initial_state
        return rounding_of(self.model, None if state is None else plain_names(state))

    @cached_property
    def spec(self) -> LossSpec:
        """The loss, as it was called or as the case says."""
        call, known = self.training.call, self.case.loss
        if call is not None:
            if known is not None and known.name == call.spec.name and known.weight is not None:
                # What gradients show counts more than what one argument says.
                return replace(call.spec, weight=known.weight)
            return call.spec
        if self.case.loss is not None and self.case.loss.name != "by_hand":
            return self.case.loss
        raise NotApplicable("The loss is none of torch's classification losses.")

    @cached_property
    def scores(self) -> Tensor:
        """(rows, C) what the loss got, in training mode, detached; one column for a binary loss."""
        return as_rows(self.raw_scores.detach())

    @cached_property
    def raw_scores(self) -> Tensor:
        """The same in its own shape, with its graph."""
        found = self.training.scores
        if found is None or not found.is_floating_point():
            raise NotApplicable("No scores of classes were found in what the model returns.")
        return found

    @cached_property
    def n_outputs(self) -> int:
        """Columns of the scores."""
        return int(self.scores.shape[1])

    @cached_property
    def n_classes(self) -> int:
        """Classes that the outputs can tell apart."""
        if self.n_outputs == 1:
            return self.case.n_classes or 2
        return self.n_outputs

    @cached_property
    def loss_targets(self) -> Tensor:
        """Targets as the loss got them for the passes' batch."""
        call = self.training.call
        found = self.batch.targets if call is None else call.targets
        if found is None:
            raise NotApplicable("The batch has no targets.")
        return found.detach()

    @cached_property
    def labels(self) -> Tensor:
        """(n,) int64 class ids of every known training batch, on the CPU."""
        found = [
            ids
            for batch in self.case.batches
            if batch.targets is not None
            and (ids := class_ids(batch.targets, ignore=self._ignored)) is not None
        ]
        if not found:
            raise NotApplicable("The targets are no class ids.")
        return torch.cat(found)

    @property
    def _ignored(self) -> int:
        try:
            return self.spec.ignore_index
        except NotApplicable:
            return -100

    @cached_property
    def stream_counts(self) -> tuple[int, ...]:
        """(C,) labels as training met them, summed over everything that is known."""
        rows = self.case.label_counts
        if rows:
            return tuple(sum(column) for column in zip(*rows))
        labels = self.labels
        labels = labels[(labels >= 0) & (labels < self.n_classes)]
        return tuple(torch.bincount(labels, minlength=self.n_classes).tolist())

    @cached_property
    def learned(self) -> bool | None:
        """Whether the loss is well below what the best constant answer costs; None if unknown.

        Looks at the batch as the weights are now, and at the losses that were captured late.
        """
        anchor = self.constant_loss
        if anchor is None:
            return None
        known = [one.loss for one in self.case.batches if one.loss is not None]
        late = known[-max(1, len(known) // 3) :]
        values = [self.training.loss.item()] if self.training.loss is not None else []
        if len(known) >= 3:
            values.append(sum(late) / len(late))
        return None if not values else min(values) < LEARNED_SHARE * anchor

    @cached_property
    def constant_loss(self) -> float | None:
        """What the best constant answer costs under the loss's class weights; None if it says
        little (hardly more than one class) or the loss is no cross-entropy.
        """
        try:
            if self.spec.name not in {"cross_entropy", "nll_loss", *BINARY_LOSSES}:
                return None
            shares = torch.tensor(self.stream_counts, dtype=torch.float64)
            weight = self.spec.weight
        except NotApplicable:
            return None
        if weight is not None and weight.numel() == shares.numel():
            shares = shares * weight.detach().double().cpu()
        shares = shares / shares.sum()
        entropy = float(-(shares * shares.clamp(min=1e-12).log()).sum())
        return entropy if entropy > 0.3 * math.log(2) else None

    def class_name(self, index: int) -> str:
        """For sentences: the name where it is known."""
        if index < len(self.classes):
            return f"class '{self.classes[index]}'"
        return f"class {index}"

    def optimised(self) -> set[int]:
        """Ids of the tensors that an optimizer holds."""
        if not self.case.optimizers:
            raise NotApplicable("No optimizer is known.")
        return {id(parameter) for one in self.case.optimizers for parameter in held_by(one)}


def held_by(optimizer: Optimizer) -> list[Tensor]:
    """Every tensor in the optimizer's groups."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def rates_of(optimizers: Sequence[Optimizer]) -> list[float]:
    """The learning rate of every group."""
    return [float(group["lr"]) for one in optimizers for group in one.param_groups]


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside DataParallel, DistributedDataParallel or a compiled wrapper: a check needs
    neither several devices nor a new compilation, and a pass without `backward` leaves DDP waiting.
    """
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif isinstance(original := getattr(model, "_orig_mod", None), nn.Module):
            model = original
        else:
            return model


def first_rows(batch: CapturedBatch, most: int) -> CapturedBatch:
    """The batch with at most so many rows."""
    n_rows = rows_of(batch)
    if n_rows is None or n_rows <= most:
        return batch
    return pick_rows(batch, torch.arange(most), n_rows=n_rows)


def pick_rows(batch: CapturedBatch, rows: Tensor, *, n_rows: int) -> CapturedBatch:
    """The batch with these rows."""
    return replace(
        batch,
        args=take_rows(batch.args, rows, n_rows=n_rows),
        keywords=take_rows(dict(batch.keywords), rows, n_rows=n_rows),
        targets=take_rows(batch.targets, rows, n_rows=n_rows),
        outputs=None,
    )


def rows_of(batch: CapturedBatch) -> int | None:
    """Images in the batch, by its targets, else by its first tensor."""
    if batch.targets is not None and batch.targets.ndim > 0:
        return batch.targets.shape[0]
    first = next((t for t in tensors_in((batch.args, batch.keywords)) if t.ndim > 0), None)
    return None if first is None else first.shape[0]


def as_rows(scores: Tensor) -> Tensor:
    """(rows, C) of scores (B,), (B, C) or (B, C, places...), as float32."""
    values = scores.float()
    if values.ndim <= 1:
        return values.reshape(-1, 1)
    return values.movedim(1, -1).reshape(-1, values.shape[1])


def class_ids(targets: Tensor, *, ignore: int) -> Tensor | None:
    """(n,) int64 class ids of targets in any of the usual forms, on the CPU; None for others.

    Ids as they are; rows of probabilities by their largest; a single column of 0 and 1 as two
    classes. Ignored ids are left out.
    """
    values = targets.detach().cpu()
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if not values.is_floating_point():
        ids = values.reshape(-1).long()
        return ids[ids != ignore]
    if values.ndim == 2 and bool(((values.sum(1) - 1).abs() < 1e-3).all()):
        return values.argmax(dim=1)
    if bool((values == values.round()).all()) and bool(torch.isfinite(values).all()):
        return values.reshape(-1).long()
    return None


@contextmanager
def loaded(model: nn.Module, state: Mapping[str, Tensor]) -> Iterator[None]:
    """The model with another state dict, for a pass; its own tensors come back on leaving.

    Raises:
        NotApplicable: the state does not fit the model.
    """
    if not fits(model, state):
        raise NotApplicable("The initial weights do not fit the model: it was changed since.")
    values = plain_names(state)
    own = dict(model.named_parameters(remove_duplicate=False))
    kept = {name: parameter.data for name, parameter in own.items()}
    with borrowed(model):
        try:
            for name, parameter in own.items():
                parameter.data = values[name].detach().to(parameter).clone()
            for name, buffer in model.named_buffers():
                if name in values and values[name].shape == buffer.shape:
                    buffer.copy_(values[name])
            yield
        finally:
            for name, parameter in own.items():
                parameter.data = kept[name]


def fits(model: nn.Module, state: Mapping[str, Tensor]) -> bool:
    """Whether the state dict has every parameter of the model, in its shape."""
    values = plain_names(state)
    return all(
        name in values and values[name].shape == parameter.shape
        for name, parameter in model.named_parameters(remove_duplicate=False)
    )
