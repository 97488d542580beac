"""Mixing: torchvision as the oracle, areas counted, and losses that stay what they were."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from everyclass.errors import InputError
from everyclass.imbalance.losses import weighted_cross_entropy
from everyclass.imbalance.mixing import Mixed, cutmix, faded, mixup, pasted, remix, remix_shares
from everyclass.imbalance.weights import balanced_weights

COUNTS = torch.tensor([60, 25, 10, 5])
KINDS = ("mixup", "cutmix", "remix")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    pixels = torch.randint(0, 256, (12, 3, 16, 20), generator=seeded(5))
    images = pixels.to(torch.uint8) if dtype == torch.uint8 else (pixels / 255).to(dtype)
    return images, torch.arange(12) % 4


def mix(kind: str, images: Tensor, targets: Tensor, seed: int) -> Mixed:
    if kind == "remix":
        return remix(images, targets, COUNTS, generator=seeded(seed))
    function = mixup if kind == "mixup" else cutmix
    return function(images, targets, n_classes=4, generator=seeded(seed))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
def test_types_stay_and_targets_are_distributions(kind: str, dtype: torch.dtype) -> None:
    images, targets = batch(dtype)
    before = images.clone()
    for seed in range(5):
        mixed = mix(kind, images, targets, seed)
        assert mixed.images.dtype == dtype
        assert mixed.images.shape == images.shape
        assert mixed.targets.dtype == torch.float32
        torch.testing.assert_close(mixed.targets.sum(dim=1), torch.ones(12))
        assert float(mixed.targets.min()) >= 0
    assert torch.equal(images, before)


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_decides_everything(kind: str) -> None:
    images, targets = batch()
    torch.manual_seed(1)
    one = mix(kind, images, targets, 3)
    torch.manual_seed(2)
    again, other = mix(kind, images, targets, 3), mix(kind, images, targets, 4)
    assert torch.equal(one.images, again.images)
    assert torch.equal(one.targets, again.targets)
    assert not torch.equal(one.images, other.images)


def test_fading_is_torchvisions() -> None:
    # v2.MixUp: the batch rolled by one, times 1 - l, plus l times the batch; targets alike.
    images, targets = batch()
    rows = functional.one_hot(targets, 4).float()
    partners = torch.arange(12).roll(1)
    for values in (images, rows):
        oracle = values.roll(1, 0).mul(1 - 0.3).add_(values.mul(0.3))
        torch.testing.assert_close(faded(values, partners, share=0.3), oracle)
    # 0.25 x 10 + 0.75 x 21 = 18.25 in whole numbers: 18.
    whole = torch.tensor([[10], [21]], dtype=torch.uint8)
    assert faded(whole, torch.tensor([1, 0]), share=0.25).tolist() == [[18], [13]]


def test_a_pasted_rectangle_is_as_large_as_it_says() -> None:
    images = torch.zeros(2, 1, 16, 20)
    images[1] = 1.0
    partners = torch.tensor([1, 0])
    seen = []
    for seed in range(40):
        mixed, share = pasted(images, partners, share=0.4, generator=seeded(seed))
        assert float(mixed[0].mean()) == pytest.approx(1 - share)
        assert float(mixed[1].mean()) == pytest.approx(share)
        inside = mixed[0, 0]
        rows, columns = inside.any(dim=1).sum(), inside.any(dim=0).sum()
        assert int(rows * columns) == int(inside.sum())  # a rectangle
        seen.append(share)
    # Whole: sides int(.5 sqrt(.6) 16) x 2 = 12 and int(.5 sqrt(.6) 20) x 2 = 14: 168 of 320.
    assert min(seen) == pytest.approx(1 - 168 / 320)
    assert max(seen) > min(seen)  # cut off at an edge
    unchanged, share = pasted(images, partners, share=1.0, generator=seeded())
    assert share == 1
    assert torch.equal(unchanged, images)


def test_remix_by_hand() -> None:
    # Ratios n_i/n_j: 9, 1/9, 1, 1.5. Pixels of the first image: 40 %. The large class loses its
    # label (.4 < .5), the small one keeps what it has (1 - .4 = .6 is not below .5).
    counts = torch.tensor([90, 10, 60])
    ours, theirs = torch.tensor([0, 1, 0, 0]), torch.tensor([1, 0, 0, 2])
    found = remix_shares(ours, theirs, counts, share=0.4)
    torch.testing.assert_close(found, torch.tensor([0.0, 0.4, 0.4, 0.4]))
    found = remix_shares(ours, theirs, counts, share=0.6)
    torch.testing.assert_close(found, torch.tensor([0.6, 1.0, 0.6, 0.6]))
    assert bool((remix_shares(ours, theirs, counts, share=0.4, tau=0.0) == 0.4).all())


def test_remix_mixes_the_pixels_as_mixup_does_and_raises_the_rare_classes() -> None:
    images, targets = batch()
    shift = torch.zeros(4)
    for seed in range(30):
        plain, remixed = (mix(kind, images, targets, seed) for kind in ("mixup", "remix"))
        assert torch.equal(plain.images, remixed.images)
        shift += remixed.targets.mean(dim=0) - plain.targets.mean(dim=0)
    assert float(shift[0]) < 0 < float(shift[3])


@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_smoothing_mean_what_they_mean_without_mixing(kind: str) -> None:
    # The loss of a mixed batch is the same mixture of its losses by class id.
    images, targets = batch()
    mixed = mix(kind, images, targets, 0)
    logits = torch.randn(12, 4, generator=seeded(9), dtype=torch.float64)
    weights = balanced_weights(COUNTS).double()
    for smoothing in (0.0, 0.1):
        found = weighted_cross_entropy(logits, mixed.targets, weights, label_smoothing=smoothing)
        each = functional.cross_entropy(
            logits.repeat_interleave(4, 0),
            torch.arange(4).repeat(12),
            label_smoothing=smoothing,
            reduction="none",
        ).view(12, 4)
        torch.testing.assert_close(found, (mixed.targets * weights * each).sum() / 12)


def test_soft_targets_are_mixed_on() -> None:
    images, targets = batch()
    once = mix("cutmix", images, targets, 0)
    twice = mix("mixup", once.images, once.targets, 1)
    torch.testing.assert_close(twice.targets.sum(dim=1), torch.ones(12))
    torch.testing.assert_close(twice.targets.mean(dim=0), torch.full((4,), 0.25))


def test_what_does_not_fit_is_refused() -> None:
    images, targets = batch()
    with pytest.raises(InputError, match=r"targets have shape \(11,\)"):
        mixup(images, targets[:11], n_classes=4, generator=seeded())
    with pytest.raises(InputError, match=r"images are torch\.int64"):
        cutmix(images.long(), targets, n_classes=4, generator=seeded())
    with pytest.raises(InputError, match="alpha is 0"):
        mixup(images, targets, n_classes=4, generator=seeded(), alpha=0)
    with pytest.raises(InputError, match="kappa is 0"):
        remix(images, targets, COUNTS, generator=seeded(), kappa=0)
    with pytest.raises(InputError, match="without training images"):
        remix(images, targets, torch.tensor([5, 0, 1, 1]), generator=seeded())
