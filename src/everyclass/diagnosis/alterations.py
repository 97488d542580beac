"""What trials change: each function changes one thing of a copied training.

Comes in: a `Lab` (the case and what was measured on it), a `Trainee`. Goes out: the trainee with
one thing changed, or `NotApplicable` with the reason. Trains nothing, judges nothing, names no
cause but where the measurement decides between two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.utils import _pytree as pytree

from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.case import CapturedBatch, Case
from everyclass.diagnosis.causes.inputs import FLAT_SD, channel_figures
from everyclass.diagnosis.heldout import Parts
from everyclass.diagnosis.material import Material, class_ids, held_by, rows_of
from everyclass.diagnosis.scores import are_probabilities
from everyclass.diagnosis.snapshot import seeded
from everyclass.diagnosis.trainee import LossArguments, Trainee
from everyclass.findings import CauseId

ID_LOSSES = ("cross_entropy", "nll_loss")
IMBALANCED = 3.0
"""Ratio of the largest to the smallest class from which a correction is tried."""

WARM_UP_STEPS = 50
CLIP_NORM = 1.0


@dataclass(frozen=True)
class Lab:
    """What changes may ask for.

    Args:
        case: what is on trial.
        material: measured on it.
        parts: captured batches, on the model's device.
        accused: causes that exact checks accuse.
        seed: of everything that a change draws.
    """

    case: Case
    material: Material
    parts: Parts
    accused: frozenset[CauseId]
    seed: int = 0

    @cached_property
    def class_counts(self) -> tuple[int, ...]:
        """(C,) labels in the batches that are trained on."""
        counts = np.zeros(max(2, self.case.n_classes or 2), dtype=np.int64)
        for batch in self.parts.training:
            assert batch.targets is not None
            ids = class_ids(batch.targets, ignore=-100)
            if ids is None:
                raise NotApplicable("The targets are no class ids.")
            known = ids[(ids >= 0) & (ids < len(counts))]
            counts += np.bincount(known.numpy(), minlength=len(counts))
        return tuple(int(one) for one in counts)

    def need(self, cause: CauseId, reason: str) -> None:
        """Raise NotApplicable unless a check accuses the cause."""
        if cause not in self.accused:
            raise NotApplicable(reason)


# -- inputs ----------------------------------------------------------------------------------------


def standardise_inputs(lab: Lab, trainee: Trainee) -> None:
    """Zero mean and unit variance at the first layer, by the captured statistics."""
    layer = lab.material.first_layer
    assert layer.inputs is not None
    figures = channel_figures(layer.inputs, layer.module)
    if max(figures.rms, 0.0) < 3 and min(figures.sd) > 0.3:
        raise NotApplicable("Inputs are about standardised already.")
    shape = [1] * layer.inputs.ndim
    if len(figures.mean) > 1 or layer.inputs.ndim >= 4:
        shape[1] = len(figures.mean)
    mean = torch.tensor(figures.mean).view(shape).to(layer.inputs)
    sd = torch.tensor(figures.sd).clamp(min=1e-6).view(shape).to(layer.inputs)
    module = trainee.model.get_submodule(layer.name)

    def change(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        done, changed = False, []
        for one in args:
            wanted = isinstance(one, Tensor) and one.is_floating_point() and not done
            changed.append((one - mean.to(one)) / sd.to(one) if wanted else one)
            done = done or wanted
        return tuple(changed)

    module.register_forward_pre_hook(change)


def input_cause(lab: Lab) -> CauseId:
    """Hardly any variance is left where inputs were scaled twice."""
    layer = lab.material.first_layer
    assert layer.inputs is not None
    flat = max(channel_figures(layer.inputs, layer.module).sd) < 10 * FLAT_SD
    return "inputs-double-scaled" if flat else "inputs-not-scaled"


# -- the rate and the optimizer --------------------------------------------------------------------


def rate_times(factor: float) -> Callable[[Lab, Trainee], None]:
    """The captured course of the rate, scaled."""

    def apply(_: Lab, trainee: Trainee) -> None:
        _need_optimizer(trainee)
        course = trainee.rate
        trainee.rate = lambda step: factor * course(step)

    return apply


def constant_rate(lab: Lab, trainee: Trainee) -> None:
    """The peak of the captured rates, reached over the first steps and kept."""
    known = [rate for _, rate in lab.case.rates]
    if len(set(known)) < 2:
        raise NotApplicable("The rate never changed.")
    trainee.rate = lambda step: min(1.0, (step + 1) / WARM_UP_STEPS)


def warm_up(_: Lab, trainee: Trainee) -> None:
    """Three tenths of the rate, reached over the first steps."""
    _need_optimizer(trainee)
    course = trainee.rate
    trainee.rate = lambda step: 0.3 * min(1.0, (step + 1) / WARM_UP_STEPS) * course(step)


def adam(_: Lab, trainee: Trainee) -> None:
    """Adam at 1e-3 over every parameter that asks for a gradient."""
    trained = [one for one in trainee.model.parameters() if one.requires_grad]
    if not trained:
        raise NotApplicable("Every parameter is frozen.")
    _replace_optimizers(trainee, torch.optim.Adam(trained, lr=1e-3), 1e-3)


def clip(_: Lab, trainee: Trainee) -> None:
    """Gradients of norm 1 at most."""
    trainee.clip_norm = CLIP_NORM


def no_weight_decay(_: Lab, trainee: Trainee) -> None:
    """weight_decay = 0 in every group."""
    groups = [group for one in trainee.optimizers for group in one.param_groups]
    if not any(float(group.get("weight_decay") or 0) > 0 for group in groups):
        raise NotApplicable("No optimizer decays weights.")
    for group in groups:
        if "weight_decay" in group:
            group["weight_decay"] = 0.0


def clear_gradients(_: Lab, trainee: Trainee) -> None:
    """Gradients start afresh at each step."""
    if trainee.clears:
        raise NotApplicable("Gradients are cleared at each step.")
    trainee.clears = True


def step_every_pass(lab: Lab, trainee: Trainee) -> None:
    """A step after every forward pass."""
    if lab.case.steps and trainee.forwards_a_step == 1:
        raise NotApplicable("Every pass was followed by a step.")
    trainee.forwards_a_step = 1


def attach_parameters(_: Lab, trainee: Trainee) -> None:
    """The optimizer gets what it lacks of the model, with the settings of its first group."""
    own = [one for one in trainee.model.parameters() if one.requires_grad]
    held = {id(one) for optimizer in trainee.optimizers for one in held_by(optimizer)}
    missing = [one for one in own if id(one) not in held]
    if not missing:
        raise NotApplicable("The optimizer holds every trainable parameter.")
    if not trainee.optimizers:
        _replace_optimizers(trainee, torch.optim.Adam(own, lr=1e-3), 1e-3)
        return
    optimizer = trainee.optimizers[0]
    first = {k: v for k, v in optimizer.param_groups[0].items() if k not in ("params", "name")}
    optimizer.add_param_group({**first, "params": missing})
    trainee.peak_rates[0].append(trainee.peak_rates[0][0])


def unfreeze(_: Lab, trainee: Trainee) -> None:
    """requires_grad everywhere, and the optimizer holds it."""
    frozen = [
        one
        for one in trainee.model.parameters()
        if not one.requires_grad and one.is_floating_point()
    ]
    if not frozen:
        raise NotApplicable("No parameter is frozen.")
    for parameter in frozen:
        parameter.requires_grad_(True)
    held = {id(one) for optimizer in trainee.optimizers for one in held_by(optimizer)}
    if any(id(one) not in held for one in frozen):
        attach_parameters(_, trainee)


def _need_optimizer(trainee: Trainee) -> None:
    if not trainee.optimizers:
        raise NotApplicable("No optimizer is known.")


def _replace_optimizers(trainee: Trainee, optimizer: Optimizer, rate: float) -> None:
    trainee.optimizers = (optimizer,)
    trainee.peak_rates = [[rate]]
    trainee.rate = lambda _: 1.0


# -- the loss --------------------------------------------------------------------------------------


def without_weights(lab: Lab, trainee: Trainee) -> None:
    """The loss without class weights."""
    spec = lab.material.spec
    if spec.weight is None and spec.pos_weight is None:
        raise NotApplicable("The loss has no class weights.")
    trainee.alter_loss.append(_without("weight", "pos_weight"))


def weights_cause(lab: Lab) -> CauseId:
    """With an even stream from an uneven set a sampler has corrected already."""
    known, stream = lab.case.class_counts, lab.class_counts
    if known is None or min(known) == 0 or min(stream) == 0:
        return "loss-weights-wrong"
    uneven = max(known) >= IMBALANCED * min(known)
    even = max(stream) < max(IMBALANCED, 0.5 * max(known) / min(known)) * min(stream)
    return "double-correction" if uneven and even else "loss-weights-wrong"


def without_smoothing(lab: Lab, trainee: Trainee) -> None:
    """The loss without label smoothing."""
    if not lab.material.spec.label_smoothing:
        raise NotApplicable("The loss smooths no labels.")
    trainee.alter_loss.append(_without("label_smoothing"))


def _without(*names: str) -> Callable[[str, LossArguments], LossArguments]:
    def alter(_: str, given: LossArguments) -> LossArguments:
        return {name: value for name, value in given.items() if name not in names}

    return alter


def probabilities_to_logits(lab: Lab, trainee: Trainee) -> None:
    """The logarithm of what is a probability already: the loss then takes it as a logit."""
    spec, scores = lab.material.spec, lab.material.scores
    if spec.name == "cross_entropy" and are_probabilities(scores):
        undo = _log
    elif spec.name == "binary_cross_entropy_with_logits" and bool(
        ((scores >= 0) & (scores <= 1)).all()
    ):
        undo = _logit
    else:
        raise NotApplicable("What the loss gets is no probability where it expects logits.")

    def alter(_: str, given: LossArguments) -> LossArguments:
        return {**given, "input": undo(given["input"])}

    trainee.alter_loss.append(alter)


def _log(probabilities: Tensor) -> Tensor:
    return probabilities.clamp(min=1e-7).log()


def _logit(probabilities: Tensor) -> Tensor:
    return probabilities.clamp(1e-6, 1 - 1e-6).logit()


def prior_correction(lab: Lab, trainee: Trainee) -> None:
    """ln of the class frequencies added to the logits in the loss (Menon et al. 2020)."""
    prior = _prior(lab)

    def alter(name: str, given: LossArguments) -> LossArguments:
        scores = given["input"]
        if name not in ID_LOSSES or scores.ndim != 2 or scores.shape[1] != len(prior):
            raise TypeError("the loss takes no (B, C) logits")
        return {**given, "input": scores + prior.to(scores)}

    if lab.material.spec.name not in ID_LOSSES:
        raise NotApplicable("The prior enters cross-entropies only.")
    trainee.alter_loss.append(alter)


def _prior(lab: Lab) -> Tensor:
    counts = lab.class_counts
    present = [one for one in counts if one]
    if len(present) < 2 or max(present) < IMBALANCED * min(present):
        raise NotApplicable(f"The classes are about even (ratio below {IMBALANCED:g}).")
    shares = torch.tensor(counts, dtype=torch.float64).clamp(min=0.5)
    return (shares / shares.sum()).log().float()


def targets_in_shape(lab: Lab, trainee: Trainee) -> None:
    """Targets in the shape of the outputs."""
    lab.need("targets-broadcast", "Outputs and targets have shapes that fit.")

    def alter(_: str, given: LossArguments) -> LossArguments:
        scores, targets = given["input"], given["target"]
        fits = scores.shape != targets.shape and scores.numel() == targets.numel()
        return {**given, "target": targets.reshape(scores.shape)} if fits else given

    trainee.alter_loss.append(alter)


def before_the_last_activation(lab: Lab, trainee: Trainee) -> None:
    """The last layer's output as it is."""
    head = lab.material.head
    scores = lab.material.scores
    module = trainee.model.get_submodule(head.name)
    width = getattr(module, "out_features", None)
    if width != scores.shape[1]:
        raise NotApplicable("The last layer's output is not what the loss gets.")
    accused = {"output-activation-wrong", "softmax-before-loss"} & lab.accused
    if not accused and not bool((scores >= 0).all()):
        raise NotApplicable("No activation stands behind the last layer.")
    trainee.read_from = head.name

    def alter(name: str, given: LossArguments) -> LossArguments:
        if name == "binary_cross_entropy":
            return {**given, "input": given["input"].sigmoid()}
        if name == "nll_loss":
            return {**given, "input": given["input"].log_softmax(dim=1)}
        return given

    trainee.alter_loss.append(alter)


def activation_cause(lab: Lab) -> CauseId:
    """A softmax, where a check saw one; else some other activation."""
    softmax = "softmax-before-loss" in lab.accused
    return "softmax-before-loss" if softmax else "output-activation-wrong"


# -- the stream ------------------------------------------------------------------------------------


def reshuffle(lab: Lab, trainee: Trainee) -> None:
    """The images of all captured batches, dealt anew into batches of the same sizes."""
    generator = torch.Generator().manual_seed(lab.seed + 1)
    trainee.batches = redealt(trainee.batches, lambda n: torch.randperm(n, generator=generator))


def balanced_batches(lab: Lab, trainee: Trainee) -> None:
    """Each class equally often in expectation, its images drawn again as needed."""
    _prior(lab)
    ids = torch.cat([_ids(one) for one in trainee.batches])
    counts = torch.bincount(ids, minlength=len(lab.class_counts)).clamp(min=1)
    generator = torch.Generator().manual_seed(lab.seed + 2)

    def draw(n: int) -> Tensor:
        return torch.multinomial(1 / counts[ids].double(), n, True, generator=generator)

    trainee.batches = redealt(trainee.batches, draw)


def redealt(
    batches: Sequence[CapturedBatch], draw: Callable[[int], Tensor]
) -> tuple[CapturedBatch, ...]:
    """Images of several batches in another order, in batches of the same sizes.

    Args:
        draw: number of images -> (n,) int64, which image stands where.
    Raises:
        NotApplicable: the batches are not of one form.
    """
    flat = [pytree.tree_flatten((one.args, dict(one.keywords), one.targets)) for one in batches]
    sizes = [rows_of(one) or 0 for one in batches]
    spec = flat[0][1]
    if any(other != spec for _, other in flat):
        raise NotApplicable("The captured batches are not of one form.")
    order = draw(sum(sizes))
    starts = np.cumsum([0, *sizes])
    columns = []
    for k in range(len(flat[0][0])):
        parts = [leaves[k] for leaves, _ in flat]
        rows = all(
            isinstance(one, Tensor) and one.ndim > 0 and one.shape[0] == size
            for one, size in zip(parts, sizes)
        )
        if not rows:
            columns.append(parts)
            continue
        if len({one.shape[1:] for one in parts}) > 1:
            raise NotApplicable("The captured images have several sizes.")
        mixed = torch.cat(parts)[order.to(parts[0].device)]
        columns.append([mixed[a:b] for a, b in pairwise(starts)])
    found = []
    for i, batch in enumerate(batches):
        args, keywords, targets = pytree.tree_unflatten([one[i] for one in columns], spec)
        found.append(replace(batch, args=args, keywords=keywords, targets=targets, outputs=None))
    return tuple(found)


def permute_labels(lab: Lab, trainee: Trainee) -> None:
    """Every image keeps another image's label, the same one in each pass."""
    generator = torch.Generator().manual_seed(lab.seed + 3)
    targets = [one.targets for one in trainee.batches]
    joined = torch.cat([one for one in targets if one is not None])
    mixed = joined[torch.randperm(len(joined), generator=generator).to(joined.device)]
    starts = np.cumsum([0, *(one.shape[0] for one in targets if one is not None)])
    trainee.batches = tuple(
        replace(batch, targets=mixed[a:b])
        for batch, (a, b) in zip(trainee.batches, pairwise(starts))
    )


def rows_alone(lab: Lab, trainee: Trainee) -> None:
    """Each image goes through the model by itself."""
    lab.need("batch-mixed", "No output depends on another row of the batch.")
    trainee.rows_alone = True


def _ids(batch: CapturedBatch) -> Tensor:
    assert batch.targets is not None
    ids = class_ids(batch.targets, ignore=-100)
    if ids is None or len(ids) != rows_of(batch):
        raise NotApplicable("The targets are not one class an image.")
    return ids


# -- the network -----------------------------------------------------------------------------------


def standard_initialisation(lab: Lab, trainee: Trainee) -> None:
    """He's scheme for layers with a weight matrix, torch's own for the rest."""
    with seeded(lab.seed), torch.no_grad():
        for module in trainee.model.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
            if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        head = lab.material.head.name
        last = trainee.model.get_submodule(head)
        if isinstance(getattr(last, "weight", None), Tensor):
            last.weight.mul_(0.1)  # type: ignore[operator]


def add_batchnorm(lab: Lab, trainee: Trainee) -> None:
    """BatchNorm behind every convolution."""
    kinds = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)
    if any(isinstance(one, kinds) for one in trainee.model.modules()):
        raise NotApplicable("The network has normalisation layers.")
    found = [
        (parent, name, child)
        for parent in trainee.model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Conv2d)
    ]
    if not found:
        raise NotApplicable("The network has no convolutions.")
    for parent, name, child in found:
        norm = nn.BatchNorm2d(child.out_channels).to(child.weight.device)
        parent._modules[name] = nn.Sequential(child, norm)
    attach_parameters(lab, trainee)


def no_dropout(_: Lab, trainee: Trainee) -> None:
    """Dropout of probability 0."""
    found = [
        one
        for one in trainee.model.modules()
        if isinstance(one, nn.modules.dropout._DropoutNd) and one.p > 0
    ]
    if not found:
        raise NotApplicable("The network drops nothing out.")
    for module in found:
        module.p = 0.0


def full_precision(_: Lab, trainee: Trainee) -> None:
    """float32 weights and inputs."""
    narrow = (torch.float16, torch.bfloat16)
    if not any(one.dtype in narrow for one in trainee.model.parameters()):
        raise NotApplicable("Weights are in full precision.")
    trainee.model.float()

    def widen(batch: CapturedBatch) -> CapturedBatch:
        def wide(value: Any) -> Any:
            return value.float() if isinstance(value, Tensor) and value.dtype in narrow else value

        args, keywords = pytree.tree_map(wide, (batch.args, dict(batch.keywords)))
        return replace(batch, args=args, keywords=keywords)

    trainee.alter_batch.append(widen)


def statistics_anew(_: Lab, trainee: Trainee) -> None:
    """BatchNorm's running statistics from the captured training batches, all counting equally."""
    norms = [
        one
        for one in trainee.model.modules()
        if isinstance(one, _BatchNorm) and one.track_running_stats
    ]
    if not norms:
        raise NotApplicable("The network has no BatchNorm with running statistics.")
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    trainee.model.train()
    with torch.no_grad():
        for batch in trainee.batches:
            trainee.outputs(batch)
