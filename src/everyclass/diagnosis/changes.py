"""The list of changes that trials try: the cause that each answers, its words, its remedy.

Comes in: nothing. Goes out: `Change` records. What a change does is in `alterations`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from everyclass.diagnosis.alterations import (
    activation_cause,
    adam,
    attach_parameters,
    balanced_weights,
    before_the_last_activation,
    capped_rate,
    clear_gradients,
    clip,
    constant_rate,
    log_softmax_added,
    no_weight_decay,
    prior_correction,
    probabilities_to_logits,
    rate_cause,
    rate_times,
    schedule_cause,
    step_every_pass,
    targets_in_shape,
    unfreeze,
    warm_up,
    weights_cause,
    without_smoothing,
    without_weights,
)
from everyclass.diagnosis.causes.clipping import clipping_cause, without_clipping
from everyclass.diagnosis.class_order import read_in_order
from everyclass.diagnosis.evaluating import (
    as_training_images,
    evaluation_mode,
    statistics_anew,
    training_mode,
)
from everyclass.diagnosis.lab import Lab
from everyclass.diagnosis.networks import (
    add_batchnorm,
    batch_first,
    finite_inputs,
    frozen_statistics,
    full_precision,
    head_anew,
    in_evaluation_mode,
    input_cause,
    load_checkpoint,
    no_dropout,
    rectified,
    rectified_cause,
    standard_initialisation,
    standardise_inputs,
)
from everyclass.diagnosis.own_loss import (
    cross_entropy,
    loss_cause,
    without_adjustment,
    without_penalty,
)
from everyclass.diagnosis.streams import (
    balanced_batches,
    evaluation_images,
    longer,
    neighbouring_labels,
    reshuffle,
    rows_alone,
    training_images_known,
)
from everyclass.diagnosis.trainee import Trainee
from everyclass.findings import CauseId


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that a trial changes.

    Args:
        name: in words with hyphens.
        cause: what is the matter when it helps.
        words: what was changed, to follow "with".
        remedy: what to do, as a sentence.
        apply: changes a trainee; raises NotApplicable when there is nothing to change.
        form: it undoes a fault of form, which a check can see exactly. A change without form
            (another rate, another optimizer) helps against many things.
        at_once: it needs no training: it is judged on the weights as they are now.
        cause_of: tells which cause it is, where one change answers several; None for `cause`.
        rules_out: asked with the trained copy, whether it helped for another reason; None where it
            cannot.
        on_evaluation: it is judged by evaluation images.
        stretch: it is trained so many times as long.
        further: name of a change that goes further the same way, or straighter; where this one
            helps, that one is tried too.
        pairing: it gives images other labels, or another look.
        alone: it is tried when nothing else helped, and in no pair.
        brings: it brings what was learned elsewhere: permuted labels cannot take that away in a
            short training, and are no control of it.
    """

    name: str
    cause: CauseId
    words: str
    remedy: str
    apply: Callable[[Lab, Trainee], None]
    form: bool = False
    at_once: bool = False
    cause_of: Callable[[Lab], CauseId] | None = None
    rules_out: Callable[[Lab, Trainee], bool] | None = None
    on_evaluation: bool = False
    stretch: int = 1
    further: str = ""
    pairing: bool = False
    alone: bool = False
    brings: bool = False


def changes() -> tuple[Change, ...]:
    """Every change, exact ones first; in this order they are tried where nothing is accused."""
    return _CHANGES


_CHANGES: tuple[Change, ...] = (
    Change(
        name="probabilities-to-logits",
        cause="softmax-before-loss",
        words="the softmax (or sigmoid) before the loss undone",
        remedy="Give the loss the network's raw outputs: it applies softmax (sigmoid) itself.",
        apply=probabilities_to_logits,
        form=True,
    ),
    Change(
        name="log-softmax-added",
        cause="loss-mismatch",
        words="log_softmax before the loss",
        remedy="Use cross_entropy on the logits, or put log_softmax(dim=1) before nll_loss.",
        apply=log_softmax_added,
        form=True,
    ),
    Change(
        name="before-the-last-activation",
        cause="output-activation-wrong",
        words="the activation behind the last layer taken away",
        remedy="End the network with its last linear layer, without ReLU, clamp or squashing.",
        apply=before_the_last_activation,
        form=True,
        cause_of=activation_cause,
    ),
    Change(
        name="parameters-attached",
        cause="parameters-not-optimised",
        words="every trainable parameter in the optimizer",
        remedy="Build the optimizer from this model's parameters, once its last layer is in place.",
        apply=attach_parameters,
        form=True,
    ),
    Change(
        name="parameters-unfrozen",
        cause="parameters-frozen",
        words="no parameter frozen",
        remedy="Set requires_grad = True on the layers that must learn, and give them to the "
        "optimizer.",
        apply=unfreeze,
        form=True,
    ),
    Change(
        name="gradients-cleared",
        cause="gradients-not-cleared",
        words="gradients cleared at each step",
        remedy="Call optimizer.zero_grad() before each backward pass.",
        apply=clear_gradients,
        form=True,
    ),
    Change(
        name="step-every-pass",
        cause="step-not-taken",
        words="a step of the optimizer after each pass",
        remedy="Call optimizer.step() after each backward pass.",
        apply=step_every_pass,
        form=True,
    ),
    Change(
        name="batch-first",
        cause="batch-mixed",
        words="attention along each image's own parts",
        remedy="Build attention and recurrent layers with batch_first=True.",
        apply=batch_first,
        form=True,
    ),
    Change(
        name="rows-alone",
        cause="batch-mixed",
        words="each image sent through the network by itself",
        remedy="Use flatten(1) or permute before view: no operation may mix rows of the batch.",
        apply=rows_alone,
        form=True,
    ),
    Change(
        name="targets-in-shape",
        cause="targets-broadcast",
        words="targets in the shape of the outputs",
        remedy="Give targets the outputs' shape, as targets.view_as(outputs).",
        apply=targets_in_shape,
        form=True,
    ),
    Change(
        name="penalty-removed",
        cause="weight-decay-too-strong",
        words="the penalty on the weights left out of the loss",
        remedy="Lower the factor of the penalty on the weights in the loss; usual are 1e-4 to "
        "5e-4.",
        apply=without_penalty,
        form=True,
    ),
    Change(
        name="adjustment-removed",
        cause="loss-weights-wrong",
        words="nothing added to the outputs in the loss",
        remedy="Leave out what the loss adds to the outputs, or add ln of the class frequencies "
        "of the batches as they arrive.",
        apply=without_adjustment,
        form=True,
        cause_of=weights_cause,
    ),
    Change(
        name="cross-entropy",
        cause="loss-mismatch",
        words="cross-entropy on the outputs in place of the script's own loss",
        remedy="Use cross_entropy on the network's outputs, with class ids as targets.",
        apply=cross_entropy,
        form=True,
        cause_of=loss_cause,
    ),
    Change(
        name="float32",
        cause="precision-loss",
        words="weights and inputs in float32",
        remedy="Train in float32, or with autocast and a GradScaler.",
        apply=full_precision,
        form=True,
    ),
    Change(
        name="clipping-removed",
        cause="learning-rate-too-low",
        words="gradients not clipped that way",
        remedy="Clip at a norm of 1 to 5; after scaler.unscale_(optimizer) where there is one.",
        apply=without_clipping,
        form=True,
        cause_of=clipping_cause,
    ),
    Change(
        name="checkpoint-loaded",
        cause="weights-not-loaded",
        words="the checkpoint's weights under the network's names",
        remedy="Load the checkpoint under the network's names.",
        apply=load_checkpoint,
        form=True,
        brings=True,
    ),
    Change(
        name="weights-removed",
        cause="loss-weights-wrong",
        words="no class weights in the loss",
        remedy="Leave the class weights out, or make them inversely proportional to the counts in "
        "the order of the outputs.",
        apply=without_weights,
        form=True,
        cause_of=weights_cause,
        further="weights-balanced",
    ),
    Change(
        name="weights-balanced",
        cause="loss-weights-wrong",
        words="class weights inversely proportional to the counts",
        remedy="Make the class weights inversely proportional to the counts, in the order of the "
        "outputs.",
        apply=balanced_weights,
        form=True,
    ),
    Change(
        name="smoothing-removed",
        cause="loss-weights-wrong",
        words="no label smoothing",
        remedy="Leave label_smoothing out where class weights are used.",
        apply=without_smoothing,
        form=True,
    ),
    Change(
        name="shuffled",
        cause="stream-sorted",
        words="the same images shuffled",
        remedy="Pass shuffle=True to the training loader.",
        apply=reshuffle,
        form=True,
    ),
    Change(
        name="inputs-finite",
        cause="non-finite",
        words="0 in the place of what is not finite in the inputs",
        remedy="Find where NaN or infinity enters the images, and mend it there.",
        apply=finite_inputs,
        form=True,
    ),
    Change(
        name="inputs-standardised",
        cause="inputs-not-scaled",
        words="inputs standardised",
        remedy="Bring the inputs to about zero mean and unit variance.",
        apply=standardise_inputs,
        form=True,
        cause_of=input_cause,
    ),
    Change(
        name="weight-decay-off",
        cause="weight-decay-too-strong",
        words="no weight decay",
        remedy="Lower weight_decay; usual are 1e-4 to 5e-4 for SGD, 0.01 to 0.1 for AdamW.",
        apply=no_weight_decay,
        form=True,
    ),
    Change(
        name="rate-constant",
        cause="learning-rate-too-low",
        words="the rate kept at what it was meant to be",
        remedy="Step the scheduler once an epoch, make its length that of the training, and its "
        "factors 1 at most.",
        apply=constant_rate,
        form=True,
        cause_of=schedule_cause,
    ),
    Change(
        name="rate-capped",
        cause="learning-rate-too-high",
        words="the learning rate kept from rising late",
        remedy="Keep the rate from rising once training is under way: look for a decay factor "
        "above 1, or a restart at another rate.",
        apply=capped_rate,
    ),
    Change(
        name="rate-tenth",
        cause="learning-rate-too-high",
        words="a tenth of the learning rate",
        remedy="Divide the learning rate by 10.",
        apply=rate_times(0.1),
        further="rate-hundredth",
    ),
    Change(
        name="rate-hundredth",
        cause="learning-rate-too-high",
        words="a hundredth of the learning rate",
        remedy="Divide the learning rate by 100.",
        apply=rate_times(0.01),
    ),
    Change(
        name="rate-ten-times",
        cause="learning-rate-too-low",
        words="ten times the learning rate",
        remedy="Multiply the learning rate by 10.",
        apply=rate_times(10.0),
        further="rate-hundred-times",
    ),
    Change(
        name="rate-hundred-times",
        cause="learning-rate-too-low",
        words="a hundred times the learning rate",
        remedy="Multiply the learning rate by 100.",
        apply=rate_times(100.0),
    ),
    Change(
        name="prior-corrected",
        cause="class-imbalance",
        words="the class frequencies corrected in the loss",
        remedy="Add ln of the class frequencies to the logits in the loss.",
        apply=prior_correction,
    ),
    Change(
        name="balanced-batches",
        cause="class-imbalance",
        words="each class equally often",
        remedy="Sample the classes equally often (WeightedRandomSampler), without class weights.",
        apply=balanced_batches,
    ),
    Change(
        name="initialised-anew",
        cause="poor-initialisation",
        words="weights drawn by He's scheme",
        remedy="Initialise with He's scheme for ReLU (kaiming_normal_).",
        apply=standard_initialisation,
    ),
    Change(
        name="hidden-relu",
        cause="poor-initialisation",
        words="ReLU between its layers instead of what squashes or shrinks, and weights to suit",
        remedy="Use ReLU between the layers: through several sigmoids in a row hardly any gradient "
        "comes back, and what shrinks small numbers to 0 leaves nothing of them.",
        apply=rectified,
        cause_of=rectified_cause,
    ),
    Change(
        name="batchnorm-added",
        cause="poor-initialisation",
        words="BatchNorm behind each convolution",
        remedy="Put BatchNorm behind the convolutions.",
        apply=add_batchnorm,
    ),
    Change(
        name="warm-up",
        cause="learning-rate-too-high",
        words="a third of the rate, after a warm-up",
        remedy="Warm the rate up over the first steps, to a third of its present value.",
        apply=warm_up,
        further="rate-tenth",
    ),
    Change(
        name="gradients-clipped",
        cause="learning-rate-too-high",
        words="gradients clipped to norm 1",
        remedy="Clip the gradients: torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).",
        apply=clip,
        further="rate-tenth",
    ),
    Change(
        name="adam",
        cause="learning-rate-too-low",
        words="Adam at 1e-3",
        remedy="Use torch.optim.Adam(model.parameters(), lr=1e-3).",
        apply=adam,
        cause_of=rate_cause,
    ),
    Change(
        name="dropout-off",
        cause="dropout-too-strong",
        words="no dropout",
        remedy="Lower the dropout probability.",
        apply=no_dropout,
    ),
    Change(
        name="nothing-random",
        cause="dropout-too-strong",
        words="the network in evaluation mode while it trains",
        remedy="Lower the probability of what the network drops or skips at random in training.",
        apply=in_evaluation_mode,
    ),
    Change(
        name="head-anew",
        cause="poor-initialisation",
        words="small fresh weights in the last layer",
        remedy="Initialise the last layer with small weights, as "
        "torch.nn.init.normal_(head.weight, std=0.01), and a bias of zero.",
        apply=head_anew,
    ),
    Change(
        name="batchnorm-frozen",
        cause="batchnorm-mismatch",
        words="BatchNorm kept at the statistics that it was loaded with",
        remedy="Keep the pretrained BatchNorm layers in eval() while you fine-tune, or use larger "
        "batches.",
        apply=frozen_statistics,
    ),
    Change(
        name="labels-one-on",
        cause="labels-unrelated",
        words="each label given to the image one place further on",
        remedy="Labels run one place ahead of their images: join them by name, not by position.",
        apply=neighbouring_labels(1),
        form=True,
        pairing=True,
    ),
    Change(
        name="labels-one-back",
        cause="labels-unrelated",
        words="each label given to the image one place before",
        remedy="Labels lag one place behind their images: join them by name, not by position.",
        apply=neighbouring_labels(-1),
        form=True,
        pairing=True,
    ),
    Change(
        name="evaluation-images",
        cause="augmentation-too-strong",
        words="training on evaluation images instead",
        remedy="Look at a few training images as the network gets them, with their labels, and "
        "weaken the augmentation until you could name each class yourself.",
        apply=evaluation_images,
        rules_out=training_images_known,
        on_evaluation=True,
        pairing=True,
    ),
    Change(
        name="longer",
        cause="undertrained",
        words="three times as many passes",
        remedy="Train for longer: nothing else needs to change.",
        apply=longer,
        stretch=3,
        alone=True,
    ),
    Change(
        name="as-training-images",
        cause="train-eval-mismatch",
        words="evaluation images scaled as training images are",
        remedy="Preprocess evaluation images exactly as training images, but for augmentation.",
        apply=as_training_images,
        form=True,
        at_once=True,
        on_evaluation=True,
    ),
    Change(
        name="classes-reordered",
        cause="labels-out-of-range",
        words="each decision on evaluation images read as the class that it fits",
        remedy="Make the labels of training and evaluation from one table of class ids "
        "(class_to_idx), with the same offset.",
        apply=read_in_order,
        form=True,
        at_once=True,
        on_evaluation=True,
    ),
    Change(
        name="evaluation-mode",
        cause="batchnorm-mismatch",
        words="evaluation images sent through in evaluation mode",
        remedy="Call model.eval() before evaluating and model.train() after.",
        apply=evaluation_mode,
        form=True,
        at_once=True,
        on_evaluation=True,
    ),
    Change(
        name="training-mode",
        cause="batchnorm-mismatch",
        words="evaluation images sent through in training mode, without dropout",
        remedy="Look at what the network does only where self.training is False: a normalisation "
        "of your own must keep the statistics that it uses then (write them to its buffers); "
        "torch's BatchNorm does.",
        apply=training_mode,
        form=True,
        at_once=True,
        on_evaluation=True,
    ),
    Change(
        name="statistics-anew",
        cause="batchnorm-mismatch",
        words="BatchNorm's statistics taken anew from training batches",
        remedy="Use larger, mixed batches or a larger BatchNorm momentum, and let nothing reset "
        "the statistics.",
        apply=statistics_anew,
        form=True,
        at_once=True,
    ),
)
