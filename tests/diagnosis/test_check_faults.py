"""Each fault, written as people write it: the named cause must be among the issues."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from checks_zoo import SIDE, adam, batch, bn_cnn, cnn, mlp, pixels, sgd, train
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import v2

from everyclass.diagnosis.check import CheckReport, check
from everyclass.findings import CauseId

IMAGENET = v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

Fault = Callable[[], CheckReport]
FAULTS: list[tuple[CauseId, Fault]] = []


def fault(cause: CauseId) -> Callable[[Fault], Fault]:
    def register(build: Fault) -> Fault:
        FAULTS.append((cause, build))
        return build

    return register


class Then(nn.Module):
    """A network and something done to its output."""

    def __init__(self, network: nn.Module, after: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.after = network, after

    def forward(self, inputs: Tensor) -> Tensor:
        return self.after(self.network(inputs))


class First(nn.Module):
    """Something done to the input of a network."""

    def __init__(self, before: Callable[[Tensor], Tensor], network: nn.Module) -> None:
        super().__init__()
        self.before, self.network = before, network

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(self.before(inputs))


def checked(
    model: nn.Module, given: Any = None, loss: Any = functional.cross_entropy, **options: Any
) -> CheckReport:
    options.setdefault("optimizer", adam(model))
    return check(model, batch() if given is None else given, loss, **options)


# -- gradients and rows ----------------------------------------------------------------------------


@fault("graph-detached")
def logits_rounded_before_the_loss() -> CheckReport:
    return checked(cnn(), loss=lambda z, y: functional.cross_entropy(z.round(decimals=2), y))


@fault("batch-mixed")
def rows_sorted_and_not_put_back() -> CheckReport:
    return checked(First(lambda x: x[x.mean(dim=(1, 2, 3)).argsort()], cnn()))


@fault("output-activation-wrong")
def scores_below_a_half_set_to_zero() -> CheckReport:
    return checked(Then(cnn(), lambda z: functional.threshold(z, 0.5, 0.0)))


@fault("output-activation-wrong")
def tanh_before_cross_entropy() -> CheckReport:
    return checked(Then(cnn(), torch.tanh))


# -- inputs ----------------------------------------------------------------------------------------


@fault("inputs-not-scaled")
def float_images_in_grey_levels() -> CheckReport:
    images, targets = pixels()
    return checked(cnn(), (images.float(), targets))


@fault("inputs-not-scaled")
def to_dtype_leaves_float_tensors_as_they_are() -> CheckReport:
    images, targets = pixels()
    transform = v2.Compose([v2.ToDtype(torch.float32, scale=True), IMAGENET])
    return checked(cnn(), (transform(images.float()), targets))


@fault("inputs-not-scaled")
def convert_image_dtype_does_too() -> CheckReport:
    images, targets = pixels()
    transform = v2.Compose([v2.ConvertImageDtype(torch.float), IMAGENET])
    return checked(cnn(), (transform(images.float()), targets))


@fault("inputs-not-scaled")
def grey_levels_minus_128() -> CheckReport:
    images, targets = pixels()
    return checked(cnn(), (images.float() - 128, targets))


@fault("inputs-not-scaled")
def a_table_without_scaler() -> CheckReport:
    torch.manual_seed(0)
    rows = torch.randn(32, 5) * torch.tensor([1.0, 10, 300, 0.1, 5]) + 40
    return checked(mlp(5), (rows, torch.arange(32) % 4))


@fault("inputs-constant")
def an_alpha_channel_turned_a_little() -> CheckReport:
    images, targets = batch()
    edge = SIDE // 4
    images[:, :, edge : SIDE - edge, edge : SIDE - edge] = 1.0
    return checked(cnn(), (images, targets))


@fault("inputs-double-scaled")
def divided_by_255_twice() -> CheckReport:
    images, targets = pixels()
    return checked(cnn(), (images / 255 / 255, targets))


@fault("inputs-double-scaled")
def divided_before_a_model_that_divides() -> CheckReport:
    images, targets = pixels()
    return checked(First(lambda x: x / 255, cnn()), (images / 255, targets))


@fault("inputs-double-scaled")
def divided_twice_then_normalised() -> CheckReport:
    images, targets = pixels()
    return checked(cnn(), (IMAGENET(images / 255 / 255), targets))


@fault("inputs-double-scaled")
def means_in_grey_levels_on_values_below_one() -> CheckReport:
    images, targets = pixels()
    normalise = v2.Normalize((123.7, 116.3, 103.5), (58.4, 57.1, 57.4))
    return checked(cnn(), (normalise(images / 255), targets))


@fault("inputs-constant")
def divided_in_integers() -> CheckReport:
    images, targets = pixels()
    return checked(cnn(), ((images // 255 * 0).float(), targets))


@fault("inputs-constant")
def a_sampler_with_a_weight_per_class() -> CheckReport:
    images, targets = batch()
    drawn = torch.arange(32) % 2
    return checked(cnn(), (images[drawn], targets[drawn]))


@fault("inputs-constant")
def the_same_image_over_and_over() -> CheckReport:
    images, targets = batch()
    return checked(cnn(), (images[:1].repeat(32, 1, 1, 1), targets))


# -- labels ----------------------------------------------------------------------------------------


@fault("labels-out-of-range")
def labels_from_one() -> CheckReport:
    images, targets = batch()
    return checked(cnn(), (images, targets + 1))


@fault("labels-out-of-range")
def one_output_too_few() -> CheckReport:
    return checked(cnn(3))


@fault("labels-out-of-range")
def minus_one_for_no_label() -> CheckReport:
    images, targets = batch()
    return checked(cnn(), (images, targets - 1))


@fault("labels-out-of-range")
def ids_one_and_two_on_three_outputs() -> CheckReport:
    images, targets = batch(n_classes=2)
    return checked(cnn(3), (images, targets + 1), class_counts=(0, 900, 700))


@fault("labels-out-of-range")
def silently_shifted_in_a_large_batch() -> CheckReport:
    images, targets = batch(1200, n_classes=4, side=8)
    images = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return checked(cnn(5), (images, targets + 1))


@fault("labels-out-of-range")
def an_output_more_than_names() -> CheckReport:
    return checked(cnn(5), classes=("a", "b", "c", "d"))


# -- loss ------------------------------------------------------------------------------------------


@fault("loss-mismatch")
def cross_entropy_over_one_output() -> CheckReport:
    images, _ = batch()
    return checked(cnn(1), (images, torch.zeros(32, dtype=torch.int64)))


@fault("loss-mismatch")
def one_unit_for_three_classes() -> CheckReport:
    images, targets = batch(n_classes=3)
    model = cnn(1)
    return checked(
        model, (images, targets[:, None].float()), functional.binary_cross_entropy_with_logits
    )


@fault("loss-mismatch")
def one_unit_for_ten_folders() -> CheckReport:
    images, targets = batch(n_classes=2)
    return checked(
        Then(cnn(1), lambda x: x.squeeze(1)),
        (images, targets.float()),
        nn.BCEWithLogitsLoss(),
        classes=tuple("abcdefghij"),
    )


@fault("loss-mismatch")
def nll_on_logits() -> CheckReport:
    return checked(cnn(), loss=nn.NLLLoss())


@fault("loss-mismatch")
def float_targets_for_cross_entropy() -> CheckReport:
    images, targets = batch()
    return checked(cnn(), (images, targets.float()))


@fault("loss-mismatch")
def the_sign_lost() -> CheckReport:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.log_softmax(1).gather(1, targets[:, None]).mean()

    return checked(cnn(), loss=loss)


@fault("loss-mismatch")
def kl_of_raw_outputs() -> CheckReport:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        wanted = functional.one_hot(targets, 4).float()
        return functional.kl_div(outputs, wanted, reduction="batchmean")

    return checked(cnn(), loss=loss)


@fault("targets-broadcast")
def ids_in_a_column_against_scores() -> CheckReport:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets[:, None].float()).square().mean()

    return checked(cnn(), loss=loss)


@fault("targets-broadcast")
def a_row_against_a_column_by_hand() -> CheckReport:
    images, targets = batch(n_classes=2)
    return checked(
        cnn(1), (images, targets), lambda outputs, wanted: (outputs - wanted.float()).abs().mean()
    )


@fault("targets-broadcast")
def a_row_against_a_column_in_smooth_l1() -> CheckReport:
    images, targets = batch(n_classes=2)
    return checked(cnn(1), (images, targets.float()), nn.SmoothL1Loss())


@fault("softmax-before-loss")
def softmax_in_forward() -> CheckReport:
    return checked(nn.Sequential(cnn(), nn.Softmax(dim=1)), loss=nn.CrossEntropyLoss())


@fault("softmax-before-loss")
def softmax_in_the_loss_line() -> CheckReport:
    return checked(
        cnn(), loss=lambda out, y: functional.cross_entropy(functional.softmax(out, 1), y)
    )


@fault("softmax-before-loss")
def softmax_then_nll() -> CheckReport:
    return checked(nn.Sequential(cnn(), nn.Softmax(dim=-1)), loss=nn.NLLLoss())


@fault("softmax-before-loss")
def softmax_then_log_softmax() -> CheckReport:
    model = nn.Sequential(cnn(), nn.Softmax(dim=1))
    return checked(
        model, loss=lambda out, y: functional.nll_loss(functional.log_softmax(out, 1), y)
    )


@fault("softmax-before-loss")
def sigmoid_before_bce_with_logits() -> CheckReport:
    images, targets = batch(n_classes=2)
    model = Then(cnn(1), lambda x: torch.sigmoid(x).squeeze(1))
    return checked(model, (images, targets.float()), nn.BCEWithLogitsLoss())


@fault("softmax-before-loss")
def softmax_over_the_batch() -> CheckReport:
    return checked(nn.Sequential(cnn(), nn.Softmax(dim=0)))


@fault("output-activation-wrong")
def relu_after_the_last_layer() -> CheckReport:
    return checked(nn.Sequential(cnn(), nn.ReLU()))


@fault("output-activation-wrong")
def an_activation_after_every_layer_of_a_loop() -> CheckReport:
    torch.manual_seed(0)
    widths = (768, 32, 32, 4)
    layers: list[nn.Module] = [nn.Flatten()]
    for left, right in pairwise(widths):
        layers += [nn.Linear(left, right), nn.ReLU(inplace=True)]
    return checked(nn.Sequential(*layers))


@fault("output-activation-wrong")
def relu_before_log_softmax() -> CheckReport:
    return checked(nn.Sequential(cnn(), nn.ReLU(), nn.LogSoftmax(dim=1)), loss=nn.NLLLoss())


@fault("output-activation-wrong")
def clamped_from_below() -> CheckReport:
    return checked(Then(cnn(), lambda x: x.clamp(min=0)))


@fault("output-activation-wrong")
def sigmoid_where_softmax_belongs() -> CheckReport:
    return checked(nn.Sequential(cnn(), nn.Sigmoid()))


@fault("output-activation-wrong")
def softmax_over_one_unit() -> CheckReport:
    images, targets = batch(n_classes=2)
    model = nn.Sequential(cnn(1), nn.Softmax(dim=1))
    return checked(model, (images, targets[:, None].float()), nn.BCELoss())


@fault("targets-broadcast")
def column_against_row_in_mse() -> CheckReport:
    images, targets = batch(n_classes=2)
    return checked(cnn(1), (images, targets.float()), nn.MSELoss())


@fault("targets-broadcast")
def column_against_row_by_hand() -> CheckReport:
    images, targets = batch(n_classes=2)
    return checked(cnn(1), (images, targets.float()), lambda out, y: ((out - y) ** 2).mean())


@fault("targets-broadcast")
def row_against_column_by_hand() -> CheckReport:
    images, targets = batch(n_classes=2)
    return checked(
        Then(cnn(1), lambda x: x.flatten()),
        (images, targets[:, None].float()),
        lambda out, y: (y - out).abs().mean(),
    )


@fault("graph-detached")
def a_new_tensor_of_the_loss() -> CheckReport:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        return torch.tensor(functional.cross_entropy(out, y).item(), requires_grad=True)

    return checked(cnn(), loss=loss)


@fault("graph-detached")
def argmax_in_the_loss() -> CheckReport:
    return checked(cnn(), loss=lambda out, y: (out.argmax(1) != y).float().mean())


@fault("graph-detached")
def outputs_detached() -> CheckReport:
    return checked(cnn(), loss=lambda out, y: functional.cross_entropy(out.detach(), y))


@fault("graph-detached")
def features_detached() -> CheckReport:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.head = cnn(64), nn.Linear(64, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.head(torch.from_numpy(self.features(inputs).detach().numpy()))

    return checked(Cut())


# -- optimizer -------------------------------------------------------------------------------------


@fault("parameters-not-optimised")
def of_a_second_instance() -> CheckReport:
    return checked(cnn(seed=0), optimizer=adam(cnn(seed=1)))


@fault("parameters-not-optimised")
def built_before_the_head_was_replaced() -> CheckReport:
    model = cnn(1000)
    optimizer = adam(model)
    model[9] = nn.Linear(32, 4)
    return checked(model, optimizer=optimizer)


@fault("parameters-not-optimised")
def groups_by_a_name_that_misses_the_head() -> CheckReport:
    model = cnn()
    chosen = [p for name, p in model.named_parameters() if name.split(".")[0] in "03"]
    return checked(model, optimizer=torch.optim.SGD(chosen, lr=0.1))


@fault("parameters-frozen")
def freeze_catches_the_head() -> CheckReport:
    model = cnn()
    optimizer = adam(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("0.")
    return checked(model, optimizer=optimizer)


@fault("parameters-frozen")
def everything_but_batchnorm() -> CheckReport:
    model = bn_cnn()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.split(".")[0] in "15"
    return checked(model, optimizer=adam(model))


@fault("parameters-frozen")
def everything() -> CheckReport:
    model = cnn()
    optimizer = adam(model)
    model.requires_grad_(False)
    return checked(model, optimizer=optimizer)


@fault("learning-rate-too-low")
def rate_zero() -> CheckReport:
    model = cnn()
    return checked(model, optimizer=sgd(model, lr=0.0))


@fault("learning-rate-too-low")
def rate_lost_in_rounding() -> CheckReport:
    model = cnn()
    return checked(model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-12))


@fault("learning-rate-too-low")
def sgd_rate_lost_in_rounding() -> CheckReport:
    model = cnn()
    return checked(model, optimizer=torch.optim.SGD(model.parameters(), lr=1e-9))


@fault("learning-rate-too-high")
def adam_at_one() -> CheckReport:
    model = cnn()
    return checked(model, optimizer=torch.optim.Adam(model.parameters(), lr=1.0))


@fault("learning-rate-too-high")
def sgd_with_momentum_at_ten() -> CheckReport:
    model = mlp(768)
    return checked(model, optimizer=torch.optim.SGD(model.parameters(), lr=10.0, momentum=0.9))


@fault("weight-decay-too-strong")
def half_in_sgd() -> CheckReport:
    model = mlp(768)
    return checked(model, optimizer=torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=0.5))


@fault("weight-decay-too-strong")
def coupled_in_adam() -> CheckReport:
    model = mlp(768)
    return checked(model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=2.0))


@fault("learning-rate-too-high")
def a_rate_at_which_the_usual_decay_of_adamw_takes_all() -> CheckReport:
    model = cnn()
    return checked(
        model, optimizer=torch.optim.AdamW(model.parameters(), lr=5.0, weight_decay=0.05)
    )


@fault("weight-decay-too-strong")
def beside_adam() -> CheckReport:
    model = cnn()
    return checked(
        model, optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=500.0)
    )


# -- imbalance -------------------------------------------------------------------------------------

COUNTS = (900, 300, 100, 30)


def weighted(weights: Any, **options: Any) -> CheckReport:
    smoothing = options.pop("label_smoothing", 0.0)
    loss = nn.CrossEntropyLoss(weight=torch.tensor(weights), label_smoothing=smoothing)
    return checked(cnn(), loss=loss, **options)


@fault("loss-weights-wrong")
def proportional_to_counts() -> CheckReport:
    return weighted([n / 1330 for n in COUNTS], class_counts=COUNTS)


@fault("loss-weights-wrong")
def in_reversed_order() -> CheckReport:
    return weighted([1 / n for n in reversed(COUNTS)], class_counts=COUNTS)


@fault("loss-weights-wrong")
def in_the_order_they_were_first_seen() -> CheckReport:
    return weighted([1 / COUNTS[c] for c in (2, 0, 3, 1)], class_counts=COUNTS)


@fault("loss-weights-wrong")
def with_label_smoothing() -> CheckReport:
    return weighted([0.1, 1.0, 5.0, 50.0], label_smoothing=0.1, class_counts=(5000, 500, 100, 10))


@fault("loss-weights-wrong")
def positives_per_negative() -> CheckReport:
    images, targets = batch(n_classes=2)
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(0.1))
    model = Then(cnn(1), lambda x: x.squeeze(1))
    return checked(model, (images, targets.float()), loss, class_counts=(1000, 100))


@fault("loss-weights-wrong")
def one_class_without_weight() -> CheckReport:
    return weighted([1.0, 0.0, 1.0, 1.0], class_counts=COUNTS)


@fault("loss-weights-wrong")
def the_first_class_ignored() -> CheckReport:
    return checked(cnn(), loss=nn.CrossEntropyLoss(ignore_index=0))


@fault("loss-weights-wrong")
def inverse_frequencies_cubed() -> CheckReport:
    return weighted([(900 / n) ** 3 for n in COUNTS], class_counts=COUNTS)


@fault("loss-weights-wrong")
def far_apart_for_even_classes() -> CheckReport:
    return weighted([1.0, 2.0, 5.0, 20.0], class_counts=(300, 320, 250, 280))


@fault("loss-weights-wrong")
def negative() -> CheckReport:
    return weighted([1.0, 1.0, -0.5, 1.0])


@fault("double-correction")
def sampler_and_weights() -> CheckReport:
    images, targets = batch(240)
    return checked(
        cnn(),
        (images, targets),
        nn.CrossEntropyLoss(weight=torch.tensor([1 / n for n in COUNTS])),
        class_counts=COUNTS,
    )


@fault("double-correction")
def weights_on_an_even_stream() -> CheckReport:
    images, targets = batch(240)
    return checked(cnn(), (images, targets), nn.CrossEntropyLoss(torch.tensor([0.1, 0.3, 1, 3])))


# -- stream, one batch -----------------------------------------------------------------------------


@fault("stream-sorted")
def one_class_in_the_batch() -> CheckReport:
    images, targets = batch()
    return checked(cnn(), (images, targets * 0 + 2), class_counts=(50, 50, 50, 50))


# -- optimizer, dropout ----------------------------------------------------------------------------


@fault("parameters-not-optimised")
def only_the_last_bias_in_the_optimizer() -> CheckReport:
    model = cnn()
    return checked(model, optimizer=torch.optim.Adam(list(model.parameters())[-1:]))


@fault("parameters-not-optimised")
def layers_in_a_plain_list() -> CheckReport:
    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [nn.Linear(48, 32), nn.Linear(32, 32)]
            self.head = nn.Linear(32, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = functional.adaptive_avg_pool2d(inputs, 4).flatten(1)
            for block in self.blocks:
                hidden = block(hidden).relu()
            return self.head(hidden)

    torch.manual_seed(0)
    return checked(Blocks())


@fault("parameters-frozen")
def all_but_the_last_bias_frozen() -> CheckReport:
    model = cnn()
    for parameter in list(model.parameters())[:-1]:
        parameter.requires_grad = False
    report = checked(model)
    assert "parameters-not-optimised" not in {one.cause for one in report.issues}
    return report


@fault("dropout-too-strong")
def the_share_to_keep_given_as_the_share_to_drop() -> CheckReport:
    return checked(nn.Sequential(cnn(32), nn.ReLU(), nn.Dropout(0.9), nn.Linear(32, 4)))


@fault("dropout-too-strong")
def dropped_by_a_function() -> CheckReport:
    dropped = Then(cnn(32), lambda x: functional.dropout(x, 0.95))
    return checked(nn.Sequential(dropped, nn.Linear(32, 4)))


@fault("dropout-too-strong")
def dropped_in_attention() -> CheckReport:
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.9, batch_first=True)
    model = nn.Sequential(nn.Flatten(2), nn.Linear(SIDE * SIDE, 16), layer, nn.Flatten())
    return checked(nn.Sequential(model, nn.Linear(48, 4)))


# -- network ---------------------------------------------------------------------------------------


@fault("non-finite")
def nan_in_a_row() -> CheckReport:
    images, targets = batch()
    images[17, 0, 3, 3] = torch.nan
    return checked(cnn(), (images, targets))


@fault("non-finite")
def nan_in_a_weight() -> CheckReport:
    model = cnn()
    with torch.no_grad():
        model[3].weight[0, 0, 0, 0] = torch.nan
    return checked(model)


@fault("non-finite")
def log_of_zero() -> CheckReport:
    return checked(Then(cnn(), lambda x: torch.log(torch.relu(x))), loss=nn.NLLLoss())


@fault("batch-mixed")
def view_used_as_transpose() -> CheckReport:
    network = mlp(768)
    images, targets = batch()
    # (H, W, C, N) as some readers give it, viewed instead of permuted.
    model = First(lambda x: x.permute(1, 2, 3, 0).reshape(x.shape[0], -1), network)
    return checked(model, (images, targets))


@fault("batch-mixed")
def attention_without_batch_first() -> CheckReport:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(48, 16)
            self.attention = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0)
            self.head = nn.Linear(16, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            patches = inputs.reshape(inputs.shape[0], 16, 48)
            return self.head(self.attention(self.embed(patches)).mean(1))

    torch.manual_seed(0)
    return checked(Attending())


@fault("batch-mixed")
def a_class_token_that_meets_those_of_other_images() -> CheckReport:
    """Its scores depend on no image at all."""

    class Token(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(48, 16)
            self.token = nn.Parameter(torch.zeros(1, 1, 16))
            self.attention = nn.TransformerEncoderLayer(16, 2, 32)
            self.head = nn.Linear(16, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            patches = self.embed(inputs.reshape(len(inputs), 16, 48))
            tokens = torch.cat([self.token.expand(len(inputs), -1, -1), patches], dim=1)
            return self.head(self.attention(tokens)[:, 0])

    torch.manual_seed(0)
    return checked(Token())


@fault("batch-mixed")
def log_softmax_over_the_batch() -> CheckReport:
    return checked(nn.Sequential(cnn(), nn.LogSoftmax(dim=0)), loss=nn.NLLLoss())


@fault("batch-mixed")
def integers_mixed() -> CheckReport:
    images, targets = pixels()
    model = First(lambda x: (x.float() / 255).roll(1, 0) - 0.5, cnn())
    return checked(model, (images, targets))


@fault("dead-units")
def biases_driven_down() -> CheckReport:
    model = cnn()
    with torch.no_grad():
        model[7].bias.fill_(-100)
    return checked(model)


@fault("dead-units")
def a_dead_convolution() -> CheckReport:
    model = cnn()
    with torch.no_grad():
        model[0].weight.mul_(0.01)
        model[0].bias.fill_(-5)
    return checked(model)


@fault("poor-initialisation")
def zero_weights() -> CheckReport:
    model = cnn()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return checked(model)


@fault("poor-initialisation")
def constant_weights() -> CheckReport:
    model = mlp(768)
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.01)
    return checked(model)


@fault("poor-initialisation")
def twenty_sigmoid_layers() -> CheckReport:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(768, 32), nn.Sigmoid()]
    for _ in range(20):
        layers += [nn.Linear(32, 32), nn.Sigmoid()]
    return checked(nn.Sequential(*layers, nn.Linear(32, 4)), initial=True)


@fault("poor-initialisation")
def a_hundredth_in_each_of_eight_layers() -> CheckReport:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(768, 64), nn.ReLU()]
    for _ in range(6):
        layers += [nn.Linear(64, 64), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(64, 4))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.01) if parameter.ndim > 1 else nn.init.zeros_(parameter)
    return checked(model, initial=True)


@fault("poor-initialisation")
def sure_of_wrong_answers_from_the_start() -> CheckReport:
    model = cnn()
    with torch.no_grad():
        for layer in (0, 3, 7, 9):
            model[layer].weight.normal_(0, 1)
    return checked(model, initial=True)


# -- evaluation ------------------------------------------------------------------------------------


@fault("batchnorm-mismatch")
def running_statistics_never_updated() -> CheckReport:
    model, (images, targets) = bn_cnn(momentum=0.0), batch(64)
    optimizer = sgd(model)
    train(model, optimizer, images + 3, targets, steps=120)
    return checked(model, (images + 3, targets), optimizer=optimizer)


@fault("batchnorm-mismatch")
def running_statistics_of_other_images() -> CheckReport:
    model, (images, targets) = bn_cnn(), batch(64)
    optimizer = sgd(model)
    train(model, optimizer, images, targets, steps=110)
    with torch.no_grad():
        for _ in range(60):
            model(images * 12 - 40)
    return checked(model, (images, targets), optimizer=optimizer)


@fault("train-eval-mismatch")
def normalisation_missing_at_evaluation() -> CheckReport:
    images, targets = pixels()
    other, others = pixels(seed=1)
    return checked(cnn(), (IMAGENET(images / 255), targets), evaluation_batch=(other / 255, others))


@fault("train-eval-mismatch")
def division_missing_at_evaluation() -> CheckReport:
    images, targets = pixels()
    other, others = pixels(seed=1)
    return checked(cnn(), (images / 255, targets), evaluation_batch=(other.float(), others))


@fault("train-eval-mismatch")
def another_backbones_means() -> CheckReport:
    images, targets = pixels()
    other, others = pixels(seed=1)
    caffe = v2.Normalize((0.48, 0.46, 0.41), (1 / 255, 1 / 255, 1 / 255))
    return checked(
        cnn(), (IMAGENET(images / 255), targets), evaluation_batch=(caffe(other / 255), others)
    )


@pytest.mark.parametrize(
    ("cause", "build"), FAULTS, ids=[f"{cause}-{build.__name__}" for cause, build in FAULTS]
)
def test_the_cause_is_named(cause: CauseId, build: Fault) -> None:
    report = build()
    assert cause in {issue.cause for issue in report.issues}, str(report)
    for issue in report.issues:
        assert issue.remedy
        assert any(character.isdigit() for character in issue.sentence) or issue.evidence


@pytest.mark.parametrize(
    ("build", "sure"),
    [
        (proportional_to_counts, True),
        (in_reversed_order, True),
        (positives_per_negative, True),
        (in_the_order_they_were_first_seen, False),
        (inverse_frequencies_cubed, False),
    ],
)
def test_weights_that_grow_with_the_counts_need_no_experiment(build: Fault, sure: bool) -> None:
    told = [one for one in build().issues if one.cause == "loss-weights-wrong"]
    assert [bool(one.evidence.get("fact")) for one in told] == [sure]
