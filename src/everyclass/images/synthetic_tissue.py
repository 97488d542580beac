"""Drawn tissue in five classes, told by structure alone.

In: a class name, a side and a generator. Out: a uint8 picture. The size, spread, density and
arrangement of nuclei and pale spaces follow the class; everything else (magnification, focus,
stain, brightness, contrast, the share of connective tissue) is drawn apart from it. Loosely after
textbook descriptions of ovarian carcinomas. Drawings: no use for any medical question.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from everyclass.errors import InputError
from everyclass.images.synthetic_paint import (
    Blobs,
    Field,
    Floats,
    Mask,
    Pixels,
    drawn_look,
    exposed,
    joined,
    noise,
    stamped,
    stamped_coarsely,
)

DRAWN_SIDE = 255  # lengths below are in pixels of a picture of this side
INTRUSION_RATE = 0.22  # share of pictures with a region drawn as another class


@dataclass(frozen=True, slots=True, kw_only=True)
class Tissue:
    """What a pattern lays down, in the order of painting."""

    cytoplasm: Blobs
    spaces: Blobs
    nuclei: Blobs
    nucleoli: Blobs


def draw_tissue(label: str, rng: np.random.Generator, *, side: int = DRAWN_SIDE) -> Pixels:
    """One picture of class `label`: CC, EC, HGSC, LGSC or MC.

    About one in five has a region, under half of it, drawn as another class: a perfect score is
    not to be had.

    Returns:
        (side, side, 3) uint8.
    Raises:
        InputError: a class that is not one of the five.
    """
    if label not in PATTERNS:
        raise InputError(
            f"There is no demo class {label!r}.", remedy=f"Choose from {', '.join(PATTERNS)}."
        )
    look = drawn_look(rng)  # before anything that depends on the class takes from the generator
    scale = side / DRAWN_SIDE * rng.uniform(0.8, 1.25)
    field = Field(side=side, scale=float(scale), rng=rng)
    tumour = _region(field, wavelength=110.0, share=rng.uniform(0.55, 1.0))
    if rng.random() >= INTRUSION_RATE:
        tissue = PATTERNS[label](field, tumour)
    else:
        foreign = _region(field, wavelength=130.0, share=rng.uniform(0.15, 0.4))
        other = str(rng.choice([name for name in PATTERNS if name != label]))
        own = PATTERNS[label](field, tumour & ~foreign)
        tissue = _side_by_side(own, PATTERNS[other](field, tumour & foreign))
    haematoxylin, eosin = _painted(field, tissue)
    return exposed(haematoxylin, eosin, look, rng)


def _region(field: Field, *, wavelength: float, share: float) -> Mask:
    """A smooth-edged part of the square that covers `share` of it."""
    height = noise(field, wavelength)
    few = height[::4, ::4]  # enough to find the level, and sorted sixteen times faster
    return np.asarray(height >= np.quantile(few, 1.0 - share))


def _side_by_side(one: Tissue, other: Tissue) -> Tissue:
    return Tissue(
        cytoplasm=joined(one.cytoplasm, other.cytoplasm),
        spaces=joined(one.spaces, other.spaces),
        nuclei=joined(one.nuclei, other.nuclei),
        nucleoli=joined(one.nucleoli, other.nucleoli),
    )


def _painted(field: Field, tissue: Tissue) -> tuple[Floats, Floats]:
    """Stroma, cytoplasm, spaces and nuclei, one over the other, as amounts of the two stains.

    Returns:
        Haematoxylin and eosin, (side, side) float32 each.
    """
    rng = field.rng
    edge = rng.uniform(1.0, 2.6) * max(field.scale, 0.5)  # the focus of this picture
    mottle, grain = noise(field, 34.0), noise(field, 5.0)
    cytoplasm = stamped_coarsely(field, tissue.cytoplasm, edge=6.0 * field.scale)
    spaces = stamped(field, tissue.spaces, edge=2.0 * edge, wobble=0.07)
    fibre, spindles = _stroma(field, mottle, np.maximum(cytoplasm, spaces) < 0.3)
    nuclei = stamped(field, tissue.nuclei, edge=edge, wobble=0.05, rim=0.35)
    np.maximum(nuclei, stamped(field, spindles, edge=edge, wobble=0.05), out=nuclei)
    nucleoli = stamped(field, tissue.nucleoli, edge=edge)
    eosin = 0.52 + 0.11 * fibre + 0.07 * mottle
    eosin += cytoplasm * (0.44 + 0.05 * mottle - eosin)
    eosin += 0.05 * grain
    eosin *= 1 - 0.92 * spaces
    eosin += nuclei * (0.45 - eosin)
    haematoxylin = (0.06 + 0.07 * cytoplasm + 0.02 * mottle) * (1 - 0.6 * spaces)
    haematoxylin += nuclei * ((1 + 0.16 * grain) - haematoxylin) + 0.45 * nucleoli * nuclei
    thickness = 1 + rng.uniform(0.0, 0.3) * noise(field, 120.0)
    return haematoxylin * thickness, eosin * thickness


def _stroma(field: Field, mottle: Floats, bare: Mask) -> tuple[Floats, Blobs]:
    """Wavy collagen, (side, side) in about -1..1, and thin nuclei along it where it is bare."""
    rng = field.rng
    direction = rng.uniform(0.0, np.pi)
    wave = 2 * np.pi / (rng.uniform(6.0, 11.0) * field.scale)
    steps = np.arange(field.side, dtype=np.float32)
    across = steps * np.float32(-wave * np.sin(direction))
    down = steps[:, None] * np.float32(wave * np.cos(direction))
    waver = noise(field, 18.0)
    fibre = np.sin(across + down + 2.2 * mottle + 1.8 * waver) * (0.65 + 0.5 * waver)
    x, y = _scattered(field, bare, spacing=rng.uniform(19.0, 34.0), jitter=0.3)
    spindles = _blobs(
        field,
        x,
        y,
        radius=6.5,
        spread=0.2,
        roundness=(0.24, 0.42),
        angle=direction + rng.normal(0.0, 0.25, len(x)),
        strength=(0.6, 0.95),
    )
    return fibre, spindles


# The five patterns. Each lays tissue where `inside` is true.


def _clear_cell(field: Field, inside: Mask) -> Tissue:
    """A honeycomb: each nucleus in the middle of its own pale cell, thin pink walls between."""
    rng = field.rng
    spacing = rng.uniform(22.0, 29.0)
    x, y = _scattered(field, inside, spacing=spacing, jitter=0.11)
    shift = rng.normal(0.0, 0.10 * spacing * field.scale, (2, len(x)))
    return Tissue(
        cytoplasm=_blobs(field, x, y, radius=0.7 * spacing),
        spaces=_blobs(
            field,
            x,
            y,
            radius=0.48 * spacing,
            spread=0.08,
            roundness=(0.8, 1.0),
            strength=(0.55, 0.95),
        ),
        nuclei=_blobs(
            field,
            x + shift[0],
            y + shift[1],
            radius=rng.uniform(4.6, 6.2),
            spread=0.15,
            roundness=(0.75, 1.0),
            strength=(0.7, 1.0),
        ),
        nucleoli=_no_blobs(field),
    )


def _endometrioid(field: Field, inside: Mask) -> Tissue:
    """Glands: tall nuclei in a ring, each pointing at the empty middle."""
    rng = field.rng
    spacing = rng.uniform(58.0, 92.0)
    x, y = _scattered(field, inside, spacing=spacing, jitter=0.10)
    lumen = _blobs(
        field,
        x,
        y,
        radius=spacing * rng.uniform(0.17, 0.26),
        spread=0.28,
        roundness=(0.4, 1.0),
        strength=(0.8, 1.0),
    )
    wall = rng.uniform(11.0, 15.0) * field.scale
    gap = rng.uniform(5.5, 7.0)
    ring_x, ring_y, outward = _rings(field, lumen, outset=0.65 * wall, gap=gap)
    wobble = rng.normal(0.0, 0.17 * wall, (2, len(ring_x)))
    return Tissue(
        cytoplasm=replace(lumen, long=lumen.long + 1.3 * wall, wide=lumen.wide + 1.3 * wall),
        spaces=lumen,
        nuclei=_blobs(
            field,
            ring_x + wobble[0],
            ring_y + wobble[1],
            radius=rng.uniform(5.2, 6.8),
            spread=0.14,
            roundness=(0.45, 0.7),
            angle=outward + rng.normal(0.0, 0.2, len(outward)),
            strength=(0.7, 1.0),
        ),
        nucleoli=_no_blobs(field),
    )


def _high_grade(field: Field, inside: Mask) -> Tissue:
    """A solid sheet of large nuclei, no two alike, with dark nucleoli and slits between."""
    rng = field.rng
    spacing = rng.uniform(16.5, 22.0)
    x, y = _scattered(field, inside, spacing=spacing, jitter=0.20)
    slit_x, slit_y = _scattered(field, inside, spacing=rng.uniform(55.0, 100.0), jitter=0.25)
    return Tissue(
        cytoplasm=_blobs(field, x, y, radius=0.75 * spacing),
        spaces=_blobs(
            field,
            slit_x,
            slit_y,
            radius=19.0,
            spread=0.3,
            roundness=(0.15, 0.4),
            strength=(0.6, 1.0),
        ),
        nuclei=_blobs(
            field,
            x,
            y,
            radius=0.40 * spacing,
            spread=rng.uniform(0.2, 0.34),
            roundness=(0.55, 1.0),
            strength=(0.55, 1.0),
        ),
        nucleoli=_blobs(field, x, y, radius=1.9, spread=0.2),
    )


def _low_grade(field: Field, inside: Mask) -> Tissue:
    """Papillae: islands of small, round, even nuclei, each island in a pale cleft."""
    rng = field.rng
    spacing = rng.uniform(40.0, 62.0)
    x, y = _scattered(field, inside, spacing=spacing, jitter=0.14)
    island = _blobs(field, x, y, radius=0.43 * spacing, spread=0.22, roundness=(0.45, 1.0))
    everywhere = np.ones_like(inside)
    fine_x, fine_y = _scattered(field, everywhere, spacing=rng.uniform(8.4, 10.5), jitter=0.15)
    kept = _covered(island, fine_x, fine_y, reach=0.92)
    return Tissue(
        cytoplasm=island,
        spaces=replace(
            island,
            long=island.long * 1.2,
            wide=island.wide * 1.2,
            strength=rng.uniform(0.45, 0.9, len(x)).astype(np.float32),
        ),
        nuclei=_blobs(
            field,
            fine_x[kept],
            fine_y[kept],
            radius=rng.uniform(3.1, 3.9),
            spread=0.08,
            roundness=(0.8, 1.0),
            strength=(0.75, 1.0),
        ),
        nucleoli=_no_blobs(field),
    )


def _mucinous(field: Field, inside: Mask) -> Tissue:
    """Pools of pale mucin with few flat nuclei along their thin walls."""
    rng = field.rng
    spacing = rng.uniform(52.0, 88.0)
    x, y = _scattered(field, inside, spacing=spacing, jitter=0.14)
    pool = _blobs(
        field,
        x,
        y,
        radius=0.5 * spacing,
        spread=0.24,
        roundness=(0.5, 1.0),
        strength=(0.5, 0.9),
    )
    gap = rng.uniform(13.0, 24.0)
    rim_x, rim_y, outward = _rings(field, pool, outset=2.0 * field.scale, gap=gap)
    return Tissue(
        # Under the pools, so that no collagen shows through the mucin.
        cytoplasm=replace(pool, long=pool.long * 1.06, wide=pool.wide * 1.06),
        spaces=pool,
        nuclei=_blobs(
            field,
            rim_x,
            rim_y,
            radius=rng.uniform(4.6, 6.0),
            spread=0.18,
            roundness=(0.4, 0.75),
            angle=outward + np.pi / 2 + rng.normal(0.0, 0.3, len(outward)),
            strength=(0.7, 1.0),
        ),
        nucleoli=_no_blobs(field),
    )


PATTERNS: dict[str, Callable[[Field, Mask], Tissue]] = {
    "CC": _clear_cell,
    "EC": _endometrioid,
    "HGSC": _high_grade,
    "LGSC": _low_grade,
    "MC": _mucinous,
}


# Where things lie. Positions are in pixels, all other lengths in drawn units.


def _blobs(
    field: Field,
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    *,
    radius: float,
    spread: float = 0.0,
    roundness: tuple[float, float] = (1.0, 1.0),
    angle: NDArray[np.floating] | None = None,
    strength: tuple[float, float] = (1.0, 1.0),
) -> Blobs:
    """A blob at each point: log-normal half axis around `radius`, the rest uniform in a range."""
    rng, k = field.rng, len(x)
    long = radius * field.scale * np.exp(spread * rng.standard_normal(k))
    turn = rng.uniform(0.0, np.pi, k) if angle is None else angle
    return Blobs(
        x=x.astype(np.float32),
        y=y.astype(np.float32),
        long=long.astype(np.float32),
        wide=(long * rng.uniform(*roundness, k)).astype(np.float32),
        angle=turn.astype(np.float32),
        strength=rng.uniform(*strength, k).astype(np.float32),
    )


def _no_blobs(field: Field) -> Blobs:
    nowhere = np.zeros(0, np.float32)
    return _blobs(field, nowhere, nowhere, radius=1.0)


def _scattered(
    field: Field, inside: Mask, *, spacing: float, jitter: float
) -> tuple[Floats, Floats]:
    """A hexagonal grid shaken by `jitter` spacings; only the points inside (K,), (K,).

    The grid passes the border, where the nearest pixel decides, so that things are cut by it.
    """
    step = spacing * field.scale
    rows, columns = int(field.side / (0.866 * step)) + 4, int(field.side / step) + 4
    row, column = np.mgrid[0:rows, 0:columns]
    start = field.rng.uniform(-1.5, -0.5, 2)
    shake = field.rng.normal(0.0, jitter * step, (2, rows, columns))
    x = ((column + 0.5 * (row % 2) + start[0]) * step + shake[0]).ravel().astype(np.float32)
    y = ((row + start[1]) * 0.866 * step + shake[1]).ravel().astype(np.float32)
    nearest_row = np.clip(np.rint(y).astype(int), 0, field.side - 1)
    nearest_column = np.clip(np.rint(x).astype(int), 0, field.side - 1)
    kept = inside[nearest_row, nearest_column]
    return x[kept], y[kept]


def _rings(
    field: Field, blobs: Blobs, *, outset: float, gap: float
) -> tuple[Floats, Floats, Floats]:
    """Points about `gap` apart on each outline moved `outset` pixels outward.

    Returns:
        x, y and the direction away from the blob's centre, (K,) float32 each.
    """
    long, wide = blobs.long + outset, blobs.wide + outset
    around = np.maximum(4, np.pi * (long + wide) / (gap * field.scale)).astype(int)
    owner = np.repeat(np.arange(len(around)), around)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(around) - around, around)
    phase = field.rng.uniform(0.0, 1.0, len(around))[owner]
    phase = phase + field.rng.normal(0.0, 0.15, len(owner))
    theta = 2 * np.pi * (place + phase) / around[owner]
    u, v = long[owner] * np.cos(theta), wide[owner] * np.sin(theta)
    cos, sin = np.cos(blobs.angle[owner]), np.sin(blobs.angle[owner])
    dx, dy = u * cos - v * sin, u * sin + v * cos
    x, y = blobs.x[owner] + dx, blobs.y[owner] + dy
    return x.astype(np.float32), y.astype(np.float32), np.arctan2(dy, dx).astype(np.float32)


def _covered(blobs: Blobs, x: Floats, y: Floats, *, reach: float) -> Mask:
    """Which points lie in some blob shrunk to `reach` of its axes; (len(x),)."""
    dx, dy = x[:, None] - blobs.x, y[:, None] - blobs.y
    cos, sin = np.cos(blobs.angle), np.sin(blobs.angle)
    u, v = (dx * cos + dy * sin) / blobs.long, (dy * cos - dx * sin) / blobs.wide
    return np.asarray((u * u + v * v < reach * reach).any(axis=1))
