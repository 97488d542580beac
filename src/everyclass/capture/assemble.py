"""A session's knowledge as values: the `Case` for checks and trials, and words for the report.

Comes in: a session, running or over. Goes out: values; the session stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from everyclass.capture.loaders import (
    class_counts,
    describe_loader,
    passes_an_epoch,
    transforms_of,
)
from everyclass.capture.losses import LossCall, find_transform, loss_function, read_loss
from everyclass.capture.report import Watched, other_frameworks
from everyclass.capture.reservoir import KeptBatch
from everyclass.capture.roots import parameters_of
from everyclass.capture.session import Session
from everyclass.capture.sites import Site, site_text
from everyclass.diagnosis.case import CapturedBatch, Case, LossName, LossSpec
from everyclass.diagnosis.nested import tensors_in

Function = Callable[..., Any]

WEIGHTS_ALIKE = 0.05
"""Relative difference up to which class weights that gradients show are those of the loss."""

_SCALING = ("Normalize", "ToDtype", "ConvertImageDtype", "ToTensor", "Rescale")


def case_of(session: Session, originals: Mapping[LossName, Function]) -> Case | None:
    """What checks and trials start from; None when no network was recognised.

    Args:
        originals: torch's loss functions without a watch on them.
    """
    if session.roots.root is None:
        return None
    training = _with_inputs(session.reservoir.training())
    n_classes = _n_classes(session)
    return Case(
        model=session.roots.root,
        optimizers=_optimizers(session),
        loss_function=_loss_function(session, training, originals),
        loss=_loss_spec(session),
        n_classes=n_classes,
        batches=tuple(_captured(one, training=True) for one in training),
        evaluation=tuple(
            _captured(one, training=False) for one in _with_inputs(session.reservoir.evaluation())
        ),
        label_counts=_label_counts(session, n_classes),
        class_counts=(
            None if n_classes is None else class_counts(session.loader, n_classes=n_classes)
        ),
        forwards=session.facts.training + session.facts.left_out,
        steps=session.steps,
        gradients_cleared=session.gradients.cleared(),
        gradient_norms=session.gradients.norms(),
        answers_reached=session.answers.reached(),
        answer_leaves=session.leaves.found(
            session.roots.root.parameters(),
            (one for optimizer in _optimizers(session) for one in parameters_of(optimizer)),
        ),
        weights_times=session.between.factor(),
        rates=tuple(session.rates),
        initial_state=session.roots.initial_state,
        clipping=session.clips.found(),
        loads=session.loads.of(session.roots.root),
        lost_loads=session.loads.lost(session.roots.root),
        epoch_batches=passes_an_epoch(session.loader),
        call_sites=call_sites(session),
    )


def call_sites(session: Session) -> dict[str, str]:
    """What was built or called where."""
    known = {
        "model": session.sites.of(session.roots.root),
        "optimizer": session.sites.of(session.roots.optimizer),
        "loss": None if session.main is None else session.main.site,
        "loader": session.sites.of(session.loader),
        "transform": _scaling_site(session),
    }
    return {name: site_text(site) for name, site in known.items() if site is not None}


def _scaling_site(session: Session) -> Site | None:
    """Where the transform was built that scales the images: the last of the known ones that says
    so by its name."""
    found = None
    for one in transforms_of(session.loader):
        scales = any(word in type(one).__name__ for word in _SCALING)
        found = (session.sites.of(one) if scales else None) or found
    return found


def watched_of(session: Session) -> Watched:
    """What was watched, in words."""
    facts, sites = session.facts, call_sites(session)
    notes = [*facts.notes, *facts.mode_notes(), *_choice_notes(session)]
    if session.failure is not None:
        notes.append(_failure_words(session))
    return Watched(
        model=_placed(_network_name(session.roots.root), sites.get("model")),
        loss=_placed(_loss_words(session), sites.get("loss")),
        optimizer=_placed(_optimizer_words(session.roots.optimizer), sites.get("optimizer")),
        batches=_batch_words(session),
        steps=session.steps,
        training_passes=facts.training,
        evaluation_passes=facts.evaluation,
        skipped_steps=facts.skipped,
        notes=tuple(notes),
    )


def nothing_watched(session: Session, modules: Collection[str]) -> str:
    """Why there is nothing to tell: what was looked for, and what was found instead.

    Args:
        modules: names of the modules that are loaded.
    """
    if session.failure is not None:
        return f"Nothing was watched. {_failure_words(session)}"
    facts = session.facts
    losses = "none of torch's losses was called"
    if facts.losses:
        counts = (f"{name} ({count:,})" for name, count in facts.losses.most_common())
        losses = f"losses called: {', '.join(counts)}"
    refused = "".join(f" {reason}." for reason, _ in facts.refused.most_common(3))
    return (
        f"Nothing was watched: {losses}; {_count(facts.optimizers, 'optimizer')} made, "
        f"{_count(facts.stepped.total(), 'step')} taken.{refused}{other_frameworks(modules)} "
        "Processes that the script starts are not watched."
    )


# -- the case --------------------------------------------------------------------------------------


def _with_inputs(batches: tuple[KeptBatch, ...]) -> tuple[KeptBatch, ...]:
    """Without those of the first step, before the network was found; unless all are like that."""
    return tuple(one for one in batches if one.args is not None) or batches


def _optimizers(session: Session) -> tuple[Optimizer, ...]:
    assert session.roots.root is not None
    own = {id(one) for one in session.roots.root.parameters()}
    found = [
        one for one in session.roots.optimizers if not own.isdisjoint(map(id, parameters_of(one)))
    ]
    if session.roots.optimizer is not None:
        found = [
            session.roots.optimizer,
            *(one for one in found if one is not session.roots.optimizer),
        ]
    return tuple(found)


def _captured(batch: KeptBatch, *, training: bool) -> CapturedBatch:
    return CapturedBatch(
        args=batch.args or (),
        keywords=batch.keywords,
        targets=batch.targets,
        outputs=batch.outputs,
        loss=None if batch.loss is None else float(batch.loss),
        step=batch.step,
        training=training,
        model_training=batch.model_training,
        number=batch.number,
    )


def _main_call(session: Session) -> LossCall | None:
    """The main loss, with the class weights that its gradients show: a script may multiply weights
    into a loss that is not reduced, in place of those in its arguments or beside them."""
    if session.main is None:
        return None
    call, n_classes = session.main.call, _n_classes(session)
    plain = call.name in ("cross_entropy", "nll_loss") and not call.targets.is_floating_point()
    if not plain or n_classes is None:
        return call
    weight = session.answers.class_weights(n_classes)
    if weight is None or _as_given(weight, call.options.get("weight")):
        return _with_latest(call, session.class_weights)
    options = {**call.options, "weight": weight.to(call.inputs), "reduction": "mean"}
    return replace(call, options=options)


def _with_latest(call: LossCall, weight: Tensor | None) -> LossCall:
    """With the class weights of the latest call: some are put in, or changed, late in a run."""
    if weight is None or call.options.get("weight") is weight:
        return call
    return replace(call, options={**call.options, "weight": weight})


def _as_given(weight: Tensor, given: Any) -> bool:
    """Whether (C,) weights of mean 1 are those that the loss was given, but for a factor."""
    if not isinstance(given, Tensor) or given.shape != weight.shape:
        return False
    own = given.detach().float().cpu()
    return bool(torch.allclose(weight, own / own.mean(), rtol=WEIGHTS_ALIKE))


def _n_classes(session: Session) -> int | None:
    if session.main is not None:
        reading = read_loss(session.main.call, look=False)
        return None if isinstance(reading, str) else reading.scores.shape[1]
    last = session.by_hand.last
    return None if last is None else int(last[0].shape[1])


def _loss_spec(session: Session) -> LossSpec | None:
    call = _main_call(session)
    if call is not None:
        return call.spec()
    return None if session.by_hand.last is None else LossSpec(name="by_hand")


def _label_counts(session: Session, n_classes: int | None) -> tuple[tuple[int, ...], ...] | None:
    if n_classes is None or not session.feed.labels:
        return None
    rows: dict[int, Tensor] = {}
    for step, targets in session.feed.labels:
        known = targets.cpu()
        known = known[(known >= 0) & (known < n_classes)]
        counts = torch.bincount(known, minlength=n_classes)
        rows[step] = rows[step] + counts if step in rows else counts
    return tuple(tuple(row.tolist()) for row in rows.values())


def _loss_function(
    session: Session, batches: tuple[KeptBatch, ...], originals: Mapping[LossName, Function]
) -> Callable[[Any, Tensor], Tensor] | None:
    whole, call = session.own_loss.loss, _main_call(session)
    if call is None or (whole is not None and not session.own_loss.plain):
        return whole
    loss = loss_function(call, originals[call.name])
    for batch in batches:
        for position, outputs in enumerate(batch.model_outputs):
            found = find_transform(outputs, batch.outputs)
            if found is not None:
                return _OutputLoss(position, found[1], loss)
    return whole


class _OutputLoss:
    """What the model returned, and targets -> the scalar that is differentiated."""

    def __init__(
        self,
        position: int,
        transform: Callable[[Tensor], Tensor],
        loss: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        self._position = position
        self._transform = transform
        self._loss = loss

    def __call__(self, output: Any, targets: Tensor) -> Tensor:
        floats = [one for one in tensors_in(output) if one.is_floating_point()]
        return self._loss(self._transform(floats[self._position]), targets)


# -- words -----------------------------------------------------------------------------------------


def _placed(words: str, site: str | None) -> str:
    return f"{words} ({site})" if words and site else words


def _network_name(root: nn.Module | None) -> str:
    if root is None:
        return ""
    inner = getattr(root, "_orig_mod", None)
    if isinstance(inner, nn.Module):
        return f"{type(inner).__name__}, compiled"
    return type(root).__name__


def _loss_words(session: Session) -> str:
    if session.main is None:
        return "" if session.by_hand.last is None else "written by hand"
    call = _main_call(session)
    assert call is not None
    spec = call.spec()
    told: list[str] = [spec.name]
    if spec.weight is not None:
        told.append("class weights")
    if spec.pos_weight is not None:
        told.append("pos_weight")
    if spec.label_smoothing:
        told.append(f"label smoothing {spec.label_smoothing:g}")
    if spec.soft_targets:
        told.append("soft or one-hot targets")
    return ", ".join(told)


def _optimizer_words(optimizer: Optimizer | None) -> str:
    if optimizer is None:
        return ""
    rates = [group.get("lr") for group in optimizer.param_groups]
    told = Counter(f"{float(one):g}" for one in rates if one is not None)
    parameters = sum(len(group["params"]) for group in optimizer.param_groups)
    words = f"{type(optimizer).__name__}, {_count(parameters, 'parameter tensor')}"
    if len(rates) > 1:
        words += f" in {len(rates)} groups"
    return words + (f", last rate {', '.join(told)}" if told else "")


def _batch_words(session: Session) -> str:
    told = [describe_loader(session.loader)]
    kept = _with_inputs(session.reservoir.training())
    if kept:
        first = next(iter(tensors_in((kept[0].args, kept[0].keywords))), None)
        if first is not None:
            told.append(f"inputs {_shape(first)}")
        told.append(f"targets {_shape(kept[0].targets)}")
    evaluation = len(session.reservoir.evaluation())
    told.append(f"{len(kept)} training and {evaluation} evaluation batches kept")
    return ", ".join(one for one in told if one)


def _shape(tensor: Tensor) -> str:
    return f"{'x'.join(map(str, tensor.shape)) or 'scalar'} {str(tensor.dtype).split('.')[-1]}"


def _failure_words(session: Session) -> str:
    return (
        f"The watch ended at step {session.steps:,} by a fault of its own, the script went on: "
        f"{type(session.failure).__name__}: {session.failure}"
    )


def _choice_notes(session: Session) -> list[str]:
    notes = []
    stepped = len(session.facts.stepped)
    if stepped > 1 and session.roots.root is not None:
        notes.append(
            f"{stepped} optimizers stepped; watched is the network whose answer reached the first "
            f"recognised loss, {_network_name(session.roots.root)}."
        )
    root, optimizer = session.roots.root, session.roots.optimizer
    if root is not None and optimizer is not None:
        own = {id(one) for one in root.parameters()}
        if own and own.isdisjoint(map(id, parameters_of(optimizer))):
            notes.append(f"The optimizer holds none of the parameters of {_network_name(root)}.")
    if session.facts.training and not session.facts.stepped:
        notes.append("No optimizer ever stepped.")
    if session.main is None and session.own_loss.note:
        notes.append(session.own_loss.note)
    return notes


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
