from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from everyclass.errors import InputError
from everyclass.imbalance.weights import balanced_weights
from everyclass.workflows.correction import Correction, build_correction

LABELS = np.repeat([0, 1, 2], [80, 15, 5]).astype(np.int64)
CLASSES = ("A", "B", "C")


def build(*names: str, epochs: int = 10) -> Correction:
    return build_correction(
        names,  # type: ignore[arg-type]
        LABELS,
        classes=CLASSES,
        epochs=epochs,
        label_smoothing=0.0,
        seed=0,
        device=torch.device("cpu"),
    )


def drawn(correction: Correction, epoch: int) -> list[int]:
    return np.bincount(LABELS[correction.epoch_order(epoch)], minlength=3).tolist()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(20, 3, generator=generator), torch.arange(20) % 3


def test_nothing_is_plain() -> None:
    correction = build()
    logits, targets = batch()
    assert drawn(correction, 0) == [80, 15, 5]
    assert float(correction.loss(logits, targets)) == float(
        functional.cross_entropy(logits, targets)
    )
    np.testing.assert_allclose(correction.logits_prior, [0.8, 0.15, 0.05], rtol=1e-6)
    np.testing.assert_allclose(correction.log_shift_to_natural, 0, atol=1e-6)


@pytest.mark.parametrize("name", ["balanced-sampling", "logit-adjustment", "weights-balanced"])
def test_a_full_correction_implies_an_even_prior(name: str) -> None:
    np.testing.assert_allclose(build(name).logits_prior, 1 / 3, rtol=1e-6)


def test_balanced_sampling_draws_evenly_and_late_only_at_the_end() -> None:
    assert max(drawn(build("balanced-sampling"), 0)) <= 35
    late = build("late-balanced-sampling", epochs=10)
    assert [max(drawn(late, epoch)) > 70 for epoch in range(10)] == [True] * 6 + [False] * 4


def test_weights_have_mean_one_over_the_images_whatever_their_name() -> None:
    """So the learning rate means the same with and without them, as in the library's mean."""
    logits, targets = batch()
    inverse, balanced = build("weights-inverse"), build("weights-balanced")
    assert inverse.weights is not None
    assert sum(inverse.weights) == pytest.approx(3)
    torch.testing.assert_close(inverse.loss(logits, targets), balanced.loss(logits, targets))
    counts = torch.tensor([80, 15, 5])
    losses = functional.cross_entropy(logits, targets, reduction="none")
    oracle = (balanced_weights(counts)[targets] * losses).mean()
    torch.testing.assert_close(balanced.loss(logits, targets), oracle)


def test_two_are_refused_and_so_is_a_class_without_training_images() -> None:
    with pytest.raises(InputError, match="at ratio 16 class 'C' would count 16 times class 'A'"):
        build("balanced-sampling", "weights-inverse")
    with pytest.raises(InputError, match="D"):
        build_correction(
            (),
            LABELS,
            classes=(*CLASSES, "D"),
            epochs=1,
            label_smoothing=0.0,
            seed=0,
            device=torch.device("cpu"),
        )


# -- the rest of the toolbox -----------------------------------------------------------------------


def test_progressive_and_repeat_factor_sampling_draw_n_an_epoch() -> None:
    progressive = build("progressive-sampling", epochs=5)
    assert drawn(progressive, 0) == [80, 15, 5]
    assert max(drawn(progressive, 4)) <= 35
    np.testing.assert_allclose(progressive.logits_prior, 1 / 3, rtol=1e-6)
    repeated = build("repeat-factor-sampling")
    # r = 1, sqrt(1/3/.15) = 1.49, sqrt(1/3/.05) = 2.58: mass 80, 22.4, 12.9 of 115.3.
    np.testing.assert_allclose(repeated.logits_prior, [0.694, 0.194, 0.112], atol=0.001)
    assert sum(drawn(repeated, 0)) == 100
    np.testing.assert_allclose(drawn(repeated, 0), [69, 19, 11], atol=2)


def test_deferred_weights_come_in_for_the_last_fifth() -> None:
    logits, targets = batch()
    late, balanced = build("weights-deferred", epochs=10), build("weights-balanced")
    plain = functional.cross_entropy(logits, targets)
    for epoch in range(8):
        torch.testing.assert_close(late.loss_at(epoch)(logits, targets), plain)
        assert late.weights_at(epoch) is None
    torch.testing.assert_close(late.loss_at(8)(logits, targets), balanced.loss(logits, targets))
    assert late.weights_at(9) == balanced.weights
    np.testing.assert_allclose(late.logits_prior, 1 / 3, rtol=1e-6)
    assert not late.prior_is_exact  # two epochs at the lowest rates do not reach it
    assert late.is_cross_entropy


@pytest.mark.parametrize(
    ("name", "prior"),
    [
        ("focal", [0.8, 0.15, 0.05]),
        ("label-aware-smoothing", [0.8, 0.15, 0.05]),
        ("class-temperature", [0.8, 0.15, 0.05]),
        ("class-balanced-focal", [1 / 3, 1 / 3, 1 / 3]),
        ("ldam-drw", [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_losses_whose_prior_is_only_near(name: str, prior: list[float]) -> None:
    correction = build(name, epochs=10)
    assert not correction.prior_is_exact
    assert not correction.is_cross_entropy
    # With beta .999 and at most 80 images effective numbers are inverse frequencies to 4 %.
    np.testing.assert_allclose(correction.logits_prior, prior, atol=0.015)
    loss = correction.loss_at(9)(*batch())
    assert bool(torch.isfinite(loss))
    assert loss.ndim == 0


def test_focal_and_smoothing_stand_beside_a_correction() -> None:
    logits, targets = batch()
    for beside in ("balanced-sampling", "weights-balanced"):
        for name in ("focal", "label-aware-smoothing"):
            np.testing.assert_allclose(build(name, beside).logits_prior, 1 / 3, rtol=1e-6)
    plain, weighted = build("focal"), build("focal", "weights-balanced")
    assert float(plain.loss(logits, targets)) != float(weighted.loss(logits, targets))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        # Ratio 16. r_c of the rarest over that of the commonest: 2.58 times its weight of 16.
        (
            ("repeat-factor-sampling", "weights-balanced"),
            "A repeat-factor sampler and class weights in the loss .* count 2.58 times class 'A'",
        ),
        (
            ("progressive-sampling", "logit-adjustment"),
            "A progressive sampler and logit adjustment of strength 1 .* count 16 times class 'A'",
        ),
        (("balanced-sampling", "class-balanced-focal"), "weights of a class-balanced focal loss"),
        (("balanced-sampling", "ldam-drw"), "deferred weights of LDAM"),
        (("balanced-sampling", "class-temperature"), "which one correction does alone"),
        (("balanced-sampling", "lws"), "A class-balanced sampler and learned scaling .* 16 times"),
        (("weights-balanced", "crt"), "retrained last layer .* which one correction does alone"),
        (("tau-norm", "offsets"), "both say what becomes of the last layer"),
        (("balanced-sampling", "sqrt-sampling"), "both say how often images are drawn"),
        (("weights-inverse", "weights-deferred"), "both say the weights of the loss"),
        (("logit-adjustment", "focal"), "both say the form of the loss"),
    ],
)
def test_what_corrects_twice_is_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(*names)


def test_smoothing_twice_is_refused() -> None:
    with pytest.raises(InputError, match="would smooth them all"):
        build_correction(
            ("label-aware-smoothing",),
            LABELS,
            classes=CLASSES,
            epochs=1,
            label_smoothing=0.1,
            seed=0,
            device=torch.device("cpu"),
        )
