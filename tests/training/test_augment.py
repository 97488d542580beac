from __future__ import annotations

import pytest
import torch

from everyclass.training.augment import augment

SIDE = 8


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs(n: int = 64) -> torch.Tensor:
    return torch.rand(n, 3, SIDE, SIDE, generator=generator(1))


def test_nothing_asked_nothing_changed() -> None:
    images = inputs()
    assert augment(images, (), generator()) is images


@pytest.mark.parametrize(("kind", "dimension"), [("flip", 3), ("vertical-flip", 2)])
def test_flips_mirror_about_half(kind: str, dimension: int) -> None:
    images = inputs(400)
    changed = augment(images, (kind,), generator())
    mirrored = (changed == images.flip(dimension)).flatten(1).all(1)
    same = (changed == images).flatten(1).all(1)
    assert bool((mirrored | same).all())
    # 400 fair coins: 150..250 is five standard deviations.
    assert 150 < int(mirrored.sum()) < 250


def test_quarter_turns_are_the_four_rotations() -> None:
    images = inputs(400)
    changed = augment(images, ("quarter-turns",), generator())
    counts = [int((changed == images.rot90(k, (2, 3))).flatten(1).all(1).sum()) for k in range(4)]
    assert sum(counts) == 400
    assert min(counts) > 50


@pytest.mark.parametrize("kind", ["crop", "rotation"])
def test_affine_changes_stay_within_the_image_range(kind: str) -> None:
    images = inputs()
    changed = augment(images, (kind,), generator())
    assert changed.shape == images.shape
    assert not torch.equal(changed, images)
    assert float(changed.min()) >= float(images.min()) - 1e-6
    assert float(changed.max()) <= float(images.max()) + 1e-6


def test_a_crop_of_a_ramp_is_a_flatter_ramp() -> None:
    # A crop of relative side s of the ramp 0..7 has s times its slope: between 0.75 and 1.
    ramp = torch.arange(SIDE).float().expand(32, 3, SIDE, SIDE)
    changed = augment(ramp, ("crop",), generator())
    slopes = changed[:, 0, 0, 4] - changed[:, 0, 0, 3]
    assert float(slopes.min()) >= 0.75 - 1e-4
    assert float(slopes.max()) <= 1.0 + 1e-4
    assert float(slopes.std()) > 0.02


def test_constant_images_stay_constant() -> None:
    constant = torch.full((16, 3, SIDE, SIDE), 0.3)
    changed = augment(constant, ("crop", "flip", "rotation", "quarter-turns"), generator())
    torch.testing.assert_close(changed, constant)


def test_the_generator_decides() -> None:
    kinds = ("crop", "flip", "rotation")
    first = augment(inputs(), kinds, generator(5))
    torch.manual_seed(99)  # the global stream must not matter
    assert torch.equal(first, augment(inputs(), kinds, generator(5)))
    assert not torch.equal(first, augment(inputs(), kinds, generator(6)))


def test_a_share_of_a_batch_changes_as_it_does_in_the_batch() -> None:
    inputs = torch.rand(7, 3, 16, 16)
    kinds = ("crop", "flip", "vertical-flip", "quarter-turns", "rotation")
    whole, alone = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    expected = augment(inputs, kinds, whole)
    own = slice(1, 7, 3)
    found = augment(inputs[own], kinds, alone, among=(own, 7))
    torch.testing.assert_close(found, expected[own])
    assert torch.equal(whole.get_state(), alone.get_state())
