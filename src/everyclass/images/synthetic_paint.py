"""Paint for the demo's images: noise, soft ellipses, two stains and colours fixed apart from form.

In: ellipses, a square to draw on and a generator. Out: arrays of one picture. Knows no class and
no file; what a class looks like is in `synthetic_tissue`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

RUIFROK_STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11))
"""Optical densities of haematoxylin and eosin in R, G, B, length 1. Ruifrok and Johnston 2001."""

SENSOR_NOISE = 0.35  # range of the noise, in standard deviations of the light
MOST_ROUNDS = 12  # of imposing the moments of a look
COARSE = 4  # soft shapes are stamped on a square this many times smaller


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A square of `side` pixels, the pixels in one drawn unit of length, and its generator."""

    side: int
    scale: float
    rng: np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Blobs:
    """Ellipses, (K,) float32 each: centre, half axes and angle of the long one, strength 0..1."""

    x: Floats
    y: Floats
    long: Floats
    wide: Floats
    angle: Floats
    strength: Floats

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Colours of a picture.

    Args:
        mean: (3,) float32 in 0..255, of R, G, B.
        deviation: (3,) float32, standard deviation over the pixels.
        density: (2, 3) float32 > 0, optical density of haematoxylin and of eosin. Its size does
            not make the picture darker, the mean is given, but sets the skewness: without that,
            dense tissue would have another than sparse.
    """

    mean: Floats
    deviation: Floats
    density: Floats


def joined(one: Blobs, other: Blobs) -> Blobs:
    """The blobs of both."""
    return Blobs(
        **{
            f.name: np.concatenate([getattr(one, f.name), getattr(other, f.name)])
            for f in fields(Blobs)
        }
    )


def noise(field: Field, wavelength: float) -> Floats:
    """Smooth noise with bumps of about `wavelength` drawn units, variance below 1; (side, side)."""
    cells = max(2, round(field.side / (wavelength * field.scale))) + 3
    coarse = field.rng.standard_normal((cells, cells), dtype=np.float32)
    # The outer cells only support the interpolation, so the border looks like the middle.
    smooth = Image.fromarray(coarse).resize(
        (field.side, field.side), Image.Resampling.BICUBIC, box=(1.0, 1.0, cells - 1.0, cells - 1.0)
    )
    return np.asarray(smooth)


def stamped(
    field: Field, blobs: Blobs, *, edge: float, wobble: float = 0.0, rim: float = 0.0
) -> Floats:
    """How much of each pixel the blobs cover: (side, side) float32 in 0..1, overlaps by maximum.

    Args:
        edge: width in pixels of the soft border.
        wobble: standard deviation of the outline from the ellipse, as a share of the radius.
        rim: how much paler the middle is than the border, in 0..1.
    """
    bends = field.rng.normal(0.0, wobble, (2, len(blobs))).clip(-2 * wobble, 2 * wobble)
    bend2, bend3 = 2 * bends.astype(np.float32)
    sharpness = blobs.wide / np.float32(2 * edge)
    # Beyond this squared radius (the border is at 1) nothing is covered.
    limit = np.square(1 + np.float32(2 * wobble) + np.float32(0.5 * edge) / blobs.wide)
    owner, index, u, v = _near(blobs, limit, field.side)
    uu = u * u
    square = uu + v * v
    # r^2 (1 + bend2 cos(2 phi) + bend3 r cos(3 phi)), as a polynomial: no root, no arc tangent.
    bent = square + bend2[owner] * (2 * uu - square)
    bent += bend3[owner] * u * (4 * uu - 3 * square)
    inward = 1 - bent
    cover = np.clip(inward * sharpness[owner] + 0.5, 0, 1) * blobs.strength[owner]
    if rim:
        cover *= 1 - rim * np.clip(inward, 0, 1)
    canvas = np.zeros(field.side * field.side, np.float32)
    np.maximum.at(canvas, index, cover)
    return canvas.reshape(field.side, field.side)


def stamped_coarsely(field: Field, blobs: Blobs, *, edge: float) -> Floats:
    """`stamped`, for shapes so soft that a quarter of the resolution shows them as well."""
    small = Field(side=max(8, field.side // COARSE), scale=field.scale, rng=field.rng)
    ratio = np.float32(small.side / field.side)
    less = Blobs(
        x=blobs.x * ratio,
        y=blobs.y * ratio,
        long=blobs.long * ratio,
        wide=blobs.wide * ratio,
        angle=blobs.angle,
        strength=blobs.strength,
    )
    cover = Image.fromarray(stamped(small, less, edge=edge * float(ratio), wobble=0.06))
    return np.asarray(cover.resize((field.side, field.side), Image.Resampling.BILINEAR))


def drawn_look(rng: np.random.Generator) -> Look:
    """The colours of one picture, as a laboratory and a scanner might give them to any tissue."""
    brightness, warmth = rng.normal(0.0, 12.0), rng.normal(0.0, 6.0)
    mean = np.array([204.0, 154.0, 203.0]) + brightness + warmth * np.array([1.0, 0.3, -1.0])
    mean += rng.normal(0.0, 3.0, 3)
    deviation = np.array([28.0, 31.0, 21.0]) * np.exp(rng.normal(0.0, 0.14))
    deviation *= np.exp(rng.normal(0.0, 0.06, 3))
    mean = np.minimum(mean, 252 - 1.3 * deviation)  # or half of a plane could be cut at white
    stains = np.array(RUIFROK_STAINS) + rng.normal(0.0, 0.04, (2, 3))
    return Look(
        mean=mean.astype(np.float32),
        deviation=deviation.astype(np.float32),
        density=(np.maximum(stains, 0.01) * np.exp(rng.normal(0.0, 0.6))).astype(np.float32),
    )


def exposed(haematoxylin: Floats, eosin: Floats, look: Look, rng: np.random.Generator) -> Pixels:
    """The picture of two stains: light that passes them, a little noise, the moments of the look.

    Args:
        haematoxylin: (side, side), amount of the stain; below 0 counts as 0.
        eosin: the same of the other stain.
        rng: of the noise.
    Returns:
        (side, side, 3) uint8; its channel moments are within about 0.1 of the look's.
    """
    purple, pink = np.maximum(haematoxylin, 0), np.maximum(eosin, 0)
    sensor = np.float32(SENSOR_NOISE) * rng.random(purple.shape, dtype=np.float32)
    pixels = np.empty((*purple.shape, 3), np.uint8)
    for channel, (of_purple, of_pink) in enumerate(look.density.T):
        light = np.exp(-of_purple * purple - of_pink * pink)
        light += light.std() * sensor
        impose_moments(light, mean=look.mean[channel], deviation=look.deviation[channel])
        pixels[:, :, channel] = np.rint(light)
    return pixels


def impose_moments(plane: Floats, *, mean: float, deviation: float) -> None:
    """Scale, shift and cut a plane in place: in 0..255, with this mean and standard deviation.

    This is what keeps colour from telling the class: dense tissue would be darker and more purple.
    """
    # Cutting at black and white moves both moments: most planes need two rounds, few over five.
    for _ in range(MOST_ROUNDS):
        centre = plane.mean()
        plane -= centre
        spread = np.sqrt(np.square(plane).mean())
        plane *= deviation / spread
        plane += mean
        np.clip(plane, 0, 255, out=plane)
        if abs(centre - mean) < 0.1 and abs(spread - deviation) < 0.1:
            break


def _near(
    blobs: Blobs, limit: Floats, side: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats, Floats]:
    """The pixels of the square within the squared radius `limit` of each blob, as one long list.

    Row by row, the stretch inside an ellipse is the root of a quadratic: no other pixel is tried.

    Returns:
        The blob a pixel is near to, the pixel's index in the flat square, and its place u, v along
        the blob's axes, in half axes. A pixel near two blobs is there twice.
    """
    cos, sin = np.cos(blobs.angle), np.sin(blobs.angle)
    u_x, u_y = cos / blobs.long, sin / blobs.long
    v_x, v_y = -sin / blobs.wide, cos / blobs.wide
    a, b = u_x * u_x + v_x * v_x, u_x * u_y + v_x * v_y
    area = blobs.long * blobs.wide
    row, of_row = _stretches(blobs.y, np.sqrt(limit * a) * area, side)
    dy = row.astype(np.float32) - blobs.y[of_row]
    middle = blobs.x[of_row] - (b / a)[of_row] * dy
    half = np.sqrt(np.maximum((limit / a)[of_row] - np.square(dy / (a * area)[of_row]), 0))
    column, of_column = _stretches(middle, half, side)
    owner = of_row[of_column]
    dx, dy = column.astype(np.float32) - blobs.x[owner], dy[of_column]
    u = u_x[owner] * dx + u_y[owner] * dy
    v = v_x[owner] * dx + v_y[owner] * dy
    return owner, row[of_column] * side + column, u, v


def _stretches(
    middle: Floats, half: Floats, side: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The whole numbers of 0..side-1 within `half` of each middle, and which middle: (M,), (M,)."""
    first = np.ceil(np.maximum(middle - half, 0)).astype(np.intp)
    last = np.floor(np.minimum(middle + half, side - 1)).astype(np.intp)
    length = np.maximum(last - first + 1, 0)
    owner = np.repeat(np.arange(len(length)), length)
    start = first - (np.cumsum(length) - length)
    return np.arange(len(owner)) + start[owner], owner
