"""Changes of how a copied training learns: its optimizer and its loss.

Comes in: a `Lab` (the case and what was measured on it), a `Trainee`. Goes out: the trainee with
one thing changed, or `NotApplicable` with the reason. Trains nothing, judges nothing, names no
cause but where the measurement decides between two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.case import Clipping
from everyclass.diagnosis.causes.rate import MOVED_SHARE, late_rise, most_moved, overshot
from everyclass.diagnosis.causes.step_size import too_large
from everyclass.diagnosis.lab import IMBALANCED, Lab
from everyclass.diagnosis.material import held_by
from everyclass.diagnosis.scores import are_probabilities
from everyclass.diagnosis.trainee import LossArguments, Trainee
from everyclass.findings import CauseId

ID_LOSSES = ("cross_entropy", "nll_loss")
WARM_UP_STEPS = 50
EXPLODED = 3.0
"""Times the first loss, from which a loss has exploded."""

CLIP_NORM = 1.0


# -- the rate and the optimizer --------------------------------------------------------------------


def rate_times(factor: float) -> Callable[[Lab, Trainee], None]:
    """The captured course of the rate, scaled; not where that is known to be too little."""

    def apply(lab: Lab, trainee: Trainee) -> None:
        _need_optimizer(trainee)
        reach = most_moved(lab.material) if factor > 1 else None
        if reach is not None and factor * reach < MOVED_SHARE:
            raise NotApplicable("Weights could still hardly move at that rate.")
        if factor < 1 and too_large(lab.material, factor):
            raise NotApplicable("Steps would still be as large as the weights.")
        course = trainee.rate
        trainee.rate = lambda step: factor * course(step)

    return apply


def constant_rate(lab: Lab, trainee: Trainee) -> None:
    """The peak of the captured rates, reached over the first steps and kept; the rate that the
    optimizer was made with, where a warm-up had not come to it or the schedule went far beyond."""
    known = [rate for _, rate in lab.case.rates]
    if len(set(known)) < 2:
        raise NotApplicable("The rate never changed.")
    groups = [group for one in lab.case.optimizers for group in one.param_groups]
    meant = max((float(group.get("initial_lr", 0.0)) for group in groups), default=0.0)
    rose = known[-1] == max(known) and known[0] < known[-1]
    over = overshot(lab.case)
    if over is not None and meant > 0:
        trainee.peak_rates = [
            [float(group.get("initial_lr", meant)) for group in one.param_groups]
            for one in trainee.optimizers
        ]
        factor = 1.0
    else:
        factor = max(1.0, meant / max(known)) if rose and max(known) > 0 else 1.0
    trainee.rate = lambda step: factor * min(1.0, (step + 1) / WARM_UP_STEPS)


def schedule_cause(lab: Lab) -> CauseId:
    """A schedule took the rate far beyond what was asked for, or to nothing."""
    return "learning-rate-too-low" if overshot(lab.case) is None else "learning-rate-too-high"


def capped_rate(lab: Lab, trainee: Trainee) -> None:
    """The captured course of the rate, cut where it rises late."""
    rise = late_rise(lab.case)
    if rise is None:
        raise NotApplicable("The rate never rose late in the run.")
    course, most = trainee.rate, rise[0] / rise[1]
    trainee.rate = lambda step: min(most, course(step))


def warm_up(_: Lab, trainee: Trainee) -> None:
    """Three tenths of the rate, reached over the first steps."""
    _need_optimizer(trainee)
    course = trainee.rate
    trainee.rate = lambda step: 0.3 * min(1.0, (step + 1) / WARM_UP_STEPS) * course(step)


def adam(_: Lab, trainee: Trainee) -> None:
    """Adam at 1e-3 over what the optimizers hold; over every parameter where there are none."""
    held = [one for optimizer in trainee.optimizers for one in held_by(optimizer)]
    own = held if trainee.optimizers else list(trainee.model.parameters())
    trained = [one for one in own if one.requires_grad]
    if not trained:
        raise NotApplicable("Nothing that is trained is in an optimizer.")
    _replace_optimizers(trainee, torch.optim.Adam(trained, lr=1e-3), 1e-3)


def rate_cause(lab: Lab) -> CauseId:
    """Another optimizer tames steps that were too large as well as it speeds small ones up: the
    captured losses tell which, as they exploded or did not."""
    losses = [one.loss for one in lab.case.batches if one.loss is not None]
    exploded = any(not math.isfinite(one) or one > EXPLODED * losses[0] for one in losses)
    return "learning-rate-too-high" if exploded else "learning-rate-too-low"


def clip(_: Lab, trainee: Trainee) -> None:
    """Gradients of norm 1 at most."""
    trainee.clip = Clipping(kind="norm", limit=CLIP_NORM)


def no_weight_decay(_: Lab, trainee: Trainee) -> None:
    """weight_decay = 0 in every group, and no decay by hand."""
    by_hand, trainee.weights_times = trainee.weights_times < 1, max(1.0, trainee.weights_times)
    groups = [group for one in trainee.optimizers for group in one.param_groups]
    if not by_hand and not any(float(one.get("weight_decay") or 0) > 0 for one in groups):
        raise NotApplicable("No optimizer decays weights.")
    for group in groups:
        if "weight_decay" in group:
            group["weight_decay"] = 0.0


def keep_gradients(_: Lab, trainee: Trainee) -> None:
    """The fault that `clear_gradients` cures."""
    trainee.clears = False


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
    """The optimizer gets what it lacks of the model."""
    own = [one for one in trainee.model.parameters() if one.requires_grad]
    held = {id(one) for optimizer in trainee.optimizers for one in held_by(optimizer)}
    missing = [one for one in own if id(one) not in held]
    if not missing:
        raise NotApplicable("The optimizer holds every trainable parameter.")
    attach(trainee, missing)


def attach(trainee: Trainee, missing: Sequence[nn.Parameter]) -> None:
    """Give the first optimizer these parameters, with the settings of its first group."""
    if not trainee.optimizers:
        own = [one for one in trainee.model.parameters() if one.requires_grad]
        _replace_optimizers(trainee, torch.optim.Adam(own, lr=1e-3), 1e-3)
        return
    optimizer = trainee.optimizers[0]
    first = {k: v for k, v in optimizer.param_groups[0].items() if k not in ("params", "name")}
    optimizer.add_param_group({**first, "params": list(missing)})
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


def balanced_weights(lab: Lab, trainee: Trainee) -> None:
    """Class weights in inverse proportion to the class frequencies, in place of those given."""
    spec = lab.material.spec
    if spec.pos_weight is not None and spec.pos_weight.numel() == 1 and len(lab.prior) == 2:
        ratio = (lab.prior[0] - lab.prior[1]).exp()

        def alter_binary(_: str, given: LossArguments) -> LossArguments:
            return {**given, "pos_weight": ratio.to(given["input"])}

        trainee.alter_loss.append(alter_binary)
        return
    if spec.weight is None or spec.name not in ("cross_entropy", "nll_loss"):
        raise NotApplicable("The loss has no class weights to put right.")
    weights = (-lab.prior).exp() / len(lab.prior)

    def alter(_: str, given: LossArguments) -> LossArguments:
        return {**given, "weight": weights.to(given["input"])}

    trainee.alter_loss.append(alter)


def weights_cause(lab: Lab) -> CauseId:
    """With an even stream from an uneven set a sampler has corrected already."""
    known, stream = lab.case.class_counts, lab.class_counts
    said = [one for one in ("loss-weights-wrong", "double-correction") if one in lab.accused]
    if len(said) == 1:
        return said[0]
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
    prior = lab.prior

    def alter(name: str, given: LossArguments) -> LossArguments:
        scores = given["input"]
        if name not in ID_LOSSES or scores.ndim != 2 or scores.shape[1] != len(prior):
            raise TypeError("the loss takes no (B, C) logits")
        return {**given, "input": scores + prior.to(scores)}

    if lab.material.spec.name not in ID_LOSSES:
        raise NotApplicable("The prior enters cross-entropies only.")
    trainee.alter_loss.append(alter)


def targets_in_shape(lab: Lab, trainee: Trainee) -> None:
    """Targets in the shape of the outputs."""
    lab.need("targets-broadcast", "Outputs and targets have shapes that fit.")

    def alter(_: str, given: LossArguments) -> LossArguments:
        scores, targets = given["input"], given["target"]
        fits = scores.shape != targets.shape and scores.numel() == targets.numel()
        return {**given, "target": targets.reshape(scores.shape)} if fits else given

    trainee.alter_loss.append(alter)


def log_softmax_added(lab: Lab, trainee: Trainee) -> None:
    """Log-probabilities where a loss that takes them got logits."""
    lab.need("loss-mismatch", "The loss gets what it takes.")
    if lab.material.spec.name not in ("nll_loss", "kl_div"):
        raise NotApplicable("The loss takes no log-probabilities.")

    def alter(name: str, given: LossArguments) -> LossArguments:
        takes = name in ("nll_loss", "kl_div")
        return {**given, "input": given["input"].log_softmax(dim=1)} if takes else given

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
    if "loss-mismatch" in lab.accused:
        raise NotApplicable("The loss does not take what the last layer gives: that comes first.")
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
