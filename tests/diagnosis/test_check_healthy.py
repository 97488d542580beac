"""Healthy trainings, the odd ones above all: not one issue in any of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from checks_zoo import adam, batch, bn_cnn, cnn, mlp, pixels, sgd, train
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import v2

from everyclass.diagnosis.check import CheckReport, check
from everyclass.models.classifier import Classifier, Preprocessing
from everyclass.models.tutorial import TutorialCNN

Healthy = Callable[[], CheckReport]
HEALTHY: list[Healthy] = []


def healthy(build: Healthy) -> Healthy:
    HEALTHY.append(build)
    return build


def checked(
    model: nn.Module, given: Any = None, loss: Any = functional.cross_entropy, **options: Any
) -> CheckReport:
    options.setdefault("optimizer", adam(model))
    options.setdefault("initial", True)
    return check(model, batch() if given is None else given, loss, **options)


@healthy
def a_cnn() -> CheckReport:
    return checked(cnn(), evaluation_batch=batch(seed=1), class_counts=(50, 50, 50, 50))


@healthy
def the_tutorials_cnn() -> CheckReport:
    torch.manual_seed(0)
    model = TutorialCNN(in_channels=3, side=36, n_classes=4)
    return checked(model, batch(side=36), nn.CrossEntropyLoss(), optimizer=sgd(model, 1e-3))


@healthy
def images_in_0_to_1() -> CheckReport:
    images, targets = pixels()
    return checked(cnn(), (images / 255, targets))


@healthy
def dark_images_with_a_bright_spot() -> CheckReport:
    images = torch.rand(32, 3, 16, 16) * 0.01
    images[torch.arange(32), :, torch.arange(32) % 16, 3] = 1.0
    return checked(cnn(), (images, torch.arange(32) % 4))


@healthy
def digits_from_0_to_16() -> CheckReport:
    images, targets = batch(channels=1, side=8)
    return checked(mlp(64), ((images * 3 + 6).clamp(0, 16), targets))


@healthy
def grey_levels_before_batchnorm() -> CheckReport:
    images, targets = pixels()
    return checked(bn_cnn(), (images.float(), targets))


@healthy
def grey_levels_into_a_first_layer_of_batchnorm() -> CheckReport:
    images, targets = pixels()
    return checked(nn.Sequential(nn.BatchNorm2d(3), *cnn()), (images.float(), targets))


@healthy
def grey_levels_and_learning_all_the_same() -> CheckReport:
    images, targets = pixels()
    model = cnn()
    optimizer = adam(model, 3e-4)
    train(model, optimizer, images.float(), targets, 80)
    return checked(model, (images.float(), targets), optimizer=optimizer, initial=False)


@healthy
def uint8_with_preprocessing_inside() -> CheckReport:
    preprocessing = Preprocessing(side=16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    return checked(Classifier(cnn(), preprocessing), pixels())


@healthy
def resnet18_fresh() -> CheckReport:
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=4)
    return checked(model, batch(16, side=32), optimizer=sgd(model))


@healthy
def a_network_after_a_few_steps() -> CheckReport:
    model, (images, targets) = bn_cnn(), batch()
    optimizer = sgd(model)
    train(model, optimizer, images, targets, 10)
    return checked(model, (images, targets), optimizer=optimizer, initial=False)


@healthy
def a_network_after_many_steps() -> CheckReport:
    model, (images, targets) = bn_cnn(), batch()
    optimizer = sgd(model)
    train(model, optimizer, images, targets, 150)
    return checked(
        model, (images, targets), optimizer=optimizer, initial=False, evaluation_batch=batch(seed=2)
    )


@healthy
def a_small_vit() -> CheckReport:
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, num_classes=4, depth=2, embed_dim=48
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    return checked(model, batch(side=32), optimizer=optimizer)


@healthy
def an_mlp_with_zero_head() -> CheckReport:
    model = mlp(768)
    nn.init.zeros_(model[5].weight)
    nn.init.zeros_(model[5].bias)
    return checked(model)


@healthy
def frozen_backbone_and_a_new_head() -> CheckReport:
    model = bn_cnn(1000)
    model.requires_grad_(False)
    model[9] = nn.Linear(16, 4)
    return checked(model, optimizer=adam(model[9]))


@healthy
def head_alone_in_the_optimizer() -> CheckReport:
    model = cnn()
    return checked(model, optimizer=adam(model[9]))


@healthy
def backbone_without_gradient_by_no_grad() -> CheckReport:
    class Probe(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = cnn(64), nn.Linear(64, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            with torch.no_grad():
                features = self.backbone(inputs)
            return self.head(features)

    return checked(Probe())


@healthy
def two_groups_without_decay_on_biases() -> CheckReport:
    model = bn_cnn()
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return checked(model, optimizer=torch.optim.AdamW(groups, lr=1e-3))


@healthy
def two_optimizers() -> CheckReport:
    model = cnn()
    return checked(model, optimizer=[sgd(model[:7]), adam(model[7:])])


@healthy
def class_weights_right() -> CheckReport:
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1 / 900, 1 / 300, 1 / 100, 1 / 30]))
    return checked(cnn(), loss=loss)


@healthy
def class_weights_right_and_counts_known() -> CheckReport:
    counts = (900, 300, 100, 30)
    images, _ = batch(64)
    targets = torch.multinomial(
        torch.tensor(counts).float(), 64, replacement=True, generator=torch.Generator()
    )
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1 / n**0.5 for n in counts]))
    return checked(cnn(), (images, targets), loss, class_counts=counts)


@healthy
def label_smoothing() -> CheckReport:
    return checked(cnn(), loss=nn.CrossEntropyLoss(label_smoothing=0.1))


@healthy
def mild_weights_with_label_smoothing() -> CheckReport:
    loss = nn.CrossEntropyLoss(weight=torch.tensor([0.5, 1, 1.5, 2]), label_smoothing=0.1)
    return checked(cnn(), loss=loss, class_counts=(400, 200, 133, 100))


@healthy
def log_softmax_before_cross_entropy() -> CheckReport:
    return checked(nn.Sequential(cnn(), nn.LogSoftmax(dim=1)))


@healthy
def log_softmax_before_nll() -> CheckReport:
    return checked(nn.Sequential(cnn(), nn.LogSoftmax(dim=1)), loss=nn.NLLLoss())


@healthy
def binary_with_one_logit() -> CheckReport:
    images, targets = batch(n_classes=2)
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([9.0]))
    return checked(cnn(1), (images, targets[:, None].float()), loss, class_counts=(900, 100))


@healthy
def binary_with_sigmoid_and_bce() -> CheckReport:
    images, targets = batch(n_classes=2)
    model = nn.Sequential(cnn(1), nn.Sigmoid(), nn.Flatten(0))
    return checked(model, (images, targets.float()), nn.BCELoss())


@healthy
def one_hot_with_mse_on_probabilities() -> CheckReport:
    images, targets = batch()
    one_hot = functional.one_hot(targets, 4).float()
    return checked(nn.Sequential(cnn(), nn.Softmax(dim=1)), (images, one_hot), nn.MSELoss())


@healthy
def mixed_up_targets() -> CheckReport:
    images, targets = batch()
    images, soft = v2.MixUp(num_classes=4)(images, targets)
    return checked(cnn(), (images, soft))


@healthy
def a_recurrent_layer_that_gets_the_sequence_first() -> CheckReport:
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRU(48, 16)
            self.head = nn.Linear(16, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            lines = inputs.permute(2, 0, 1, 3).flatten(2)
            return self.head(self.cell(lines)[0][-1])

    torch.manual_seed(0)
    return checked(Rows())


@healthy
def a_focal_loss_by_hand() -> CheckReport:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        costs = functional.cross_entropy(outputs, targets, reduction="none")
        return ((1 - torch.exp(-costs)) ** 2 * costs).mean()

    return checked(cnn(), loss=loss)


@healthy
def kl_divergence_of_log_probabilities() -> CheckReport:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        smoothed = 0.9 * functional.one_hot(targets, 4) + 0.025
        return functional.kl_div(outputs.log_softmax(1), smoothed, reduction="batchmean")

    return checked(cnn(), loss=loss)


@healthy
def log_softmax_in_the_network_and_minus_its_mean() -> CheckReport:
    model = nn.Sequential(cnn(), nn.LogSoftmax(dim=1))
    return checked(model, loss=lambda x, y: -x[torch.arange(len(y)), y].mean())


@healthy
def dropout_of_a_half() -> CheckReport:
    return checked(nn.Sequential(cnn(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 4)))


@healthy
def smooth_l1_on_a_column() -> CheckReport:
    images, targets = batch(n_classes=2)
    return checked(cnn(1), (images, targets[:, None].float()), nn.SmoothL1Loss())


@healthy
def inverse_frequencies() -> CheckReport:
    counts = (900, 300, 100, 30)
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1330 / (4 * n) for n in counts]))
    return checked(cnn(), loss=loss, class_counts=counts)


@healthy
def margins() -> CheckReport:
    return checked(cnn(), loss=nn.MultiMarginLoss())


@healthy
def cross_entropy_by_hand() -> CheckReport:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        return -functional.log_softmax(out, dim=1).gather(1, y[:, None]).mean()

    return checked(cnn(), loss=loss)


@healthy
def a_loss_that_compares_all_pairs() -> CheckReport:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        same = (y[:, None] == y[None, :]).float()
        distances = torch.cdist(out, out)
        return (same * distances + (1 - same) * (1 - distances).relu()).mean()

    return checked(cnn(), loss=loss)


@healthy
def unbalanced_data() -> CheckReport:
    images, _ = batch(64)
    targets = torch.cat([torch.zeros(60), torch.tensor([1, 2, 2, 3.0])]).long()
    return checked(cnn(), (images, targets), class_counts=(6000, 100, 200, 100))


@healthy
def a_rare_first_class_not_met_yet() -> CheckReport:
    images, targets = batch(32, n_classes=3)
    return checked(cnn(4), (images, targets + 1))


@healthy
def a_batch_of_four() -> CheckReport:
    return checked(cnn(), batch(4), evaluation_batch=batch(4, seed=1))


@healthy
def a_batch_of_one() -> CheckReport:
    return checked(cnn(), batch(1))


@healthy
def two_classes() -> CheckReport:
    return checked(cnn(2), batch(n_classes=2))


@healthy
def fifty_classes() -> CheckReport:
    return checked(cnn(50), batch(64, n_classes=50))


@healthy
def an_evened_out_sampler_that_repeats_images() -> CheckReport:
    images, targets = batch(32)
    drawn = torch.cat([torch.arange(16), torch.arange(16) % 5 + 16])
    return checked(cnn(), (images[drawn], targets[drawn]))


@healthy
def augmented_training_against_plain_evaluation() -> CheckReport:
    images, targets = pixels(64)
    other, others = pixels(64, seed=1)
    torch.manual_seed(0)
    jitter = v2.Compose([v2.ColorJitter(0.4, 0.4, 0.4), v2.RandomHorizontalFlip()])
    shown = torch.stack([jitter(one) for one in images])
    erased = v2.RandomErasing(p=1.0)(shown / 255)
    return checked(cnn(), (erased, targets), evaluation_batch=(other / 255, others))


@healthy
def batchnorm_without_running_statistics() -> CheckReport:
    model = bn_cnn()
    for layer in (1, 5):
        model[layer] = nn.BatchNorm2d(model[layer].num_features, track_running_stats=False)
    return checked(model)


@healthy
def standardised_by_the_batch_inside() -> CheckReport:
    class Standardised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = cnn()

        def forward(self, inputs: Tensor) -> Tensor:
            return self.network((inputs - inputs.mean()) / inputs.std())

    return checked(Standardised())


@healthy
def logits_kept_within_fifty() -> CheckReport:
    class Kept(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = cnn()

        def forward(self, inputs: Tensor) -> Tensor:
            return self.network(inputs).clamp(-50, 50)

    return checked(Kept())


@healthy
def a_warm_up_that_starts_at_zero() -> CheckReport:
    model = cnn()
    optimizer = adam(model)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 1000))
    return checked(model, optimizer=optimizer)


@healthy
def a_tiny_rate_that_still_moves() -> CheckReport:
    model = cnn()
    return checked(model, optimizer=torch.optim.SGD(model.parameters(), lr=1e-5))


@healthy
def no_optimizer_yet() -> CheckReport:
    return checked(cnn(), optimizer=None)


@healthy
def dropout() -> CheckReport:
    network = cnn()
    return checked(nn.Sequential(*network[:9], nn.Dropout(0.5), network[9]))


@healthy
def gelu_network_with_layer_norm() -> CheckReport:
    torch.manual_seed(0)
    layers = (nn.Linear(768, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 4))
    return checked(nn.Sequential(nn.Flatten(), *layers))


@healthy
def one_by_one_positions() -> CheckReport:
    images, _ = batch(16)
    targets = torch.arange(16 * 256).reshape(16, 16, 16) % 4
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    return checked(model, (images, targets))


@pytest.mark.parametrize("build", HEALTHY, ids=lambda build: build.__name__)
def test_a_healthy_training_has_no_issue(build: Healthy) -> None:
    report = build()
    assert not report.issues, str(report)
    assert len(report.passed) >= 8, str(report)
