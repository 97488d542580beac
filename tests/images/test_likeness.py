"""Alike images: found when resized, compressed, brightened; others are left apart."""

from __future__ import annotations

import io
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from everyclass.images.audit import audit_images
from everyclass.images.audit_values import Audit
from everyclass.images.likeness import alike_pairs, likeness_codes
from everyclass.images.readers import read_table


def scene(seed: int, side: int = 128) -> Image.Image:
    """Blobs on a gradient: as smooth as photographs are."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    pixels = np.stack([x * rng.uniform(0, 90) + y * rng.uniform(0, 90)] * 3, axis=2)
    for _ in range(40):
        cx, cy, size = rng.random(), rng.random(), rng.uniform(0.03, 0.15)
        blob = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * size**2))
        pixels += blob[..., None] * rng.uniform(-80, 120, 3)
    return Image.fromarray(np.clip(pixels + 60, 0, 255).astype(np.uint8))


def compressed(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


CHANGES = [
    lambda one: compressed(one, 30),
    lambda one: one.resize((90, 90), Image.Resampling.BICUBIC),
    lambda one: one.resize((200, 100)),
    lambda one: ImageEnhance.Brightness(one).enhance(0.9),
]


def codes_of(images: list[Image.Image]) -> np.ndarray:
    found = [likeness_codes(np.asarray(one.convert("L"))[None]) for one in images]
    assert all(tells.all() for _, tells in found)
    return np.concatenate([codes for codes, _ in found])


@pytest.mark.parametrize("change", CHANGES, ids=["jpeg", "smaller", "stretched", "darker"])
def test_what_was_made_of_an_image_is_found_and_nothing_else(change) -> None:
    originals = [scene(seed) for seed in range(60)]
    codes = codes_of([*originals, *map(change, originals)])
    pairs = {tuple(one) for one in alike_pairs(codes).tolist()}
    wanted = {(i, i + 60) for i in range(60)}
    assert len(pairs & wanted) >= 58
    assert pairs <= wanted


def test_the_first_code_is_that_of_imagehash() -> None:
    images = [scene(seed) for seed in range(40)]
    ours = codes_of(images)[:, 0]
    theirs = [int(str(imagehash.phash(one)), 16) for one in images]
    apart = [(int(a) ^ b).bit_count() for a, b in zip(ours, theirs)]
    # Another filter makes the 32 x 32 pixels; the median splits hairs.
    assert np.mean(apart) < 2


def test_images_without_contrast_have_no_code() -> None:
    flat = np.full((2, 32, 32), 77, dtype=np.uint8)
    flat[1, :2] = 90
    assert likeness_codes(flat)[1].tolist() == [False, False]


def test_many_images_with_one_first_code_are_compared_too() -> None:
    rng = np.random.default_rng(0)
    codes = np.stack(
        [np.full(300, 9, np.uint64), rng.integers(0, 2**64, 300, dtype=np.uint64)], axis=1
    )
    codes[299, 1] = codes[0, 1] ^ np.uint64(1)
    assert alike_pairs(codes).tolist() == [[0, 299]]
    near = np.array([[9, 5], [9 ^ 3, 5], [9, 4], [0xFFFF << 40, 5]], dtype=np.uint64)
    assert alike_pairs(near).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert alike_pairs(np.empty((0, 2), dtype=np.uint64)).shape == (0, 2)


def audited(folder: Path) -> Audit:
    return audit_images(read_table(folder), side=64, threads=2)


def test_an_audit_tells_near_duplicates_by_what_they_spoil(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for label in ("a", "b"):
            (tmp_path / split / label).mkdir(parents=True)
    for seed in range(12):
        scene(seed).save(tmp_path / "train" / "ab"[seed % 2] / f"{seed}.png")
    compressed(scene(0), 60).save(tmp_path / "val" / "a" / "near0.png")
    compressed(scene(1), 60).save(tmp_path / "train" / "a" / "near1.png")
    compressed(scene(2), 60).save(tmp_path / "train" / "a" / "near2.png")
    scene(3).save(tmp_path / "train" / "b" / "same3.png")
    scene(50).save(tmp_path / "val" / "b" / "alone.png")
    audit = audited(tmp_path)
    groups = [[Path(one.image).stem for one in group.images] for group in audit.near_duplicates]
    assert sorted(map(sorted, groups)) == [["0", "near0"], ["1", "near1"], ["2", "near2"]]
    assert [len(group.images) for group in audit.duplicates] == [2]
    told = {one.id: one for one in audit.warnings}
    assert told["near-duplicates-across-splits"].evidence == {
        "groups": 1,
        "leaked": 1,
        "evaluated": 2,
    }
    assert told["near-duplicates-across-labels"].evidence == {"groups": 1, "images": 2}
    assert told["near-duplicates"].evidence == {"groups": 1, "extra": 1}
    assert Audit.from_dict(audit.to_dict()) == audit
