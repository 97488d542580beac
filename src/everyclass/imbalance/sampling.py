"""In which order images are seen. Comes in: labels and a seed. Goes out: one order an epoch.

P(class c) is proportional to n_c^power: 1 is natural, 0.5 square-root, 0 class-balanced. An epoch
is always N draws, and its order is a pure function of (labels, power, seed, epoch): to resume at
draw k, ask for the same epoch and start at k; nothing has to be saved.

Draws are *without replacement first*. Independent draws with weights 1/n_c, the usual way, leave
images out by chance (37 % of a balanced set in each epoch) and repeat others while some were never
seen. Here each class goes through its images in shuffled rounds, and where an epoch ends within a
round, the next goes on from there: no image of a class comes a second time before each came once,
and a large class that gets a fifth of its size an epoch is covered once in five epochs.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from everyclass.errors import InputError
from everyclass.seeding import stream_seed

Sampling = Literal["natural", "square-root", "class-balanced"]

SAMPLING_POWERS: dict[Sampling, float] = {"natural": 1.0, "square-root": 0.5, "class-balanced": 0.0}
"""The power of each sampling."""

Order = NDArray[np.int64]


def epoch_order(labels: ArrayLike, *, power: float, seed: int, epoch: int) -> Order:
    """The rows to visit in one epoch, in order.

    In the epochs 0 to e together, class c is drawn (e + 1) N P(c) times, to within one draw; in
    each, to within two. At power 1 each row comes exactly once.

    Args:
        labels: (N,) integers >= 0 (array or CPU tensor), N > 0; the class of each row.
        power: in [0, 1].
        seed: any integer; another seed gives another order.
        epoch: from 0.
    Returns:
        (N,) int64 rows in [0, N).
    Raises:
        InputError: no labels, a label missing (-1) or not a whole number, power outside [0, 1], a
            negative epoch.
    """
    ids = checked_labels(labels)
    if epoch < 0:
        raise InputError(f"epoch is {epoch}; the first is 0.")
    counts = np.bincount(ids)
    starts, stops = (_draws_before(counts, power, ids.size, e) for e in (epoch, epoch + 1))
    return order_of_draws(ids, starts, stops, seed=seed, epoch=epoch)


def progressive_order(labels: ArrayLike, *, epochs: int, seed: int, epoch: int) -> Order:
    """The rows to visit in one epoch of a training that goes from natural to class-balanced.

    As `epoch_order` with the power of `progressive_power`; rounds go on from epoch to epoch while
    it changes. In the epochs 0 to e together, class c is drawn N sum_k P_k(c) times, to within one.

    Args:
        labels: (N,) integers >= 0, N > 0; the class of each row.
        epochs: of the training.
        seed: any integer.
        epoch: from 0, below `epochs`.
    Returns:
        (N,) int64 rows in [0, N).
    Raises:
        InputError: as `epoch_order`, or an epoch outside the training.
    """
    ids = checked_labels(labels)
    counts = np.bincount(ids)
    last = progressive_power(epoch, epochs=epochs)
    before = np.zeros(counts.size)
    for k in range(epoch):
        before += _shares(counts, progressive_power(k, epochs=epochs))
    upto = before + _shares(counts, last)
    starts, stops = (whole_draws(ids.size * sum_of_shares) for sum_of_shares in (before, upto))
    return order_of_draws(ids, starts, stops, seed=seed, epoch=epoch)


def progressive_power(epoch: int, *, epochs: int) -> float:
    """1 - epoch / (epochs - 1): from 1 (natural) in the first epoch to 0 (balanced) in the last.

    The stream's prior in an epoch is `sampled_prior(counts, power=progressive_power(...))`, exact.
    A training of one epoch is balanced.

    Args:
        epoch: from 0, below `epochs`.
        epochs: of the training.
    Raises:
        InputError: an epoch outside the training.
    Source: Kang et al. 2020, arXiv:1910.09217, section 3; they mix the two priors, with the share
        epoch / epochs of the balanced one. With powers every epoch is a sampling of its own name.
    """
    if not 0 <= epoch < epochs:
        raise InputError(f"epoch is {epoch}, outside 0 to {epochs - 1}.")
    return 1 - epoch / (epochs - 1) if epochs > 1 else 0.0


def order_of_draws(ids: Order, starts: Order, stops: Order, *, seed: int, epoch: int) -> Order:
    """The rows of one epoch, in order, from what each class has been drawn before and after it.

    What the samplings of this package are made of: rounds through each class, without replacement
    first, going on from epoch to epoch.

    Args:
        ids: (N,) int64 >= 0, `checked_labels`.
        starts: (C,) int64, draws of each class in all epochs before; C = max(ids) + 1.
        stops: (C,) int64, the same with this epoch; starts <= stops.
        seed: any integer.
        epoch: names the shuffle of the epoch.
    Returns:
        (M,) int64 rows in [0, N), M = sum(stops - starts).
    """
    counts, draws = np.bincount(ids), stops - starts
    by_class = np.split(np.argsort(ids, kind="stable"), np.cumsum(counts)[:-1])
    rows = np.concatenate(
        [
            members[_positions(members.size, int(starts[c]), int(draws[c]), seed, c)]
            for c, members in enumerate(by_class)
        ]
    )
    # Shuffle which class comes when, then let each class fill its places in the order of its
    # rounds: a plain shuffle of `rows` would put second visits before first ones.
    keys = _random_keys(rows.size, stream_seed(seed, "epoch order", epoch))
    class_at = np.repeat(np.arange(counts.size), draws)[np.argsort(keys, kind="stable")]
    order = np.empty(rows.size, dtype=np.int64)
    order[np.argsort(class_at, kind="stable")] = rows
    return order


def whole_draws(wished: NDArray[np.float64]) -> Order:
    """(C,) whole numbers within one of the wished draws, whose sum is the rounded sum.

    Class c owns the stretch from B_(c-1) to B_c on the scale of cumulated wishes, and gets the
    difference of the rounded ends. Applied to the wishes summed over the epochs before, and to
    those with the epoch, the difference is within two of the epoch's own wish, and not negative
    where that is 1 or more.
    """
    ends = np.rint(np.cumsum(wished)).astype(np.int64)
    return np.diff(ends, prepend=0)


def rank_share(order: Order, *, rank: int, world_size: int) -> Order:
    """The part of an order that one process visits: every world_size-th row, from `rank` on.

    Together the parts are the order, each row in one of them; sizes differ by one at most. Give it
    one optimizer step's rows rather than the epoch, and a step sees the same rows on any number of
    processes.

    Raises:
        InputError: rank outside [0, world_size).
    """
    if not 0 <= rank < world_size:
        raise InputError(f"rank is {rank}, outside 0 to {world_size - 1}.")
    return order[rank::world_size]


def sampled_prior(counts: Tensor, *, power: float) -> Tensor:
    """The class frequencies of the sampled stream: n_c^power / sum_j n_j^power.

    Exact, not an estimate: see `epoch_order`. A class without images is never drawn, at any power.

    Args:
        counts: (C,) int64, images per class, not all 0.
        power: in [0, 1].
    Returns:
        (C,) float32 on the device of `counts`, sums to 1.
    Raises:
        InputError: counts are not (C,) or all 0, or power outside [0, 1].
    Example:
        >>> sampled_prior(torch.tensor([900, 100]), power=0.5)
        tensor([0.7500, 0.2500])
    """
    if counts.ndim != 1 or counts.numel() == 0:
        raise InputError(f"counts have shape {tuple(counts.shape)}; (C,) with C > 0 is expected.")
    shares = _shares(counts.detach().cpu().numpy(), power)
    return torch.from_numpy(shares).to(torch.float32).to(counts.device)


def _shares(counts: NDArray[np.int64], power: float) -> NDArray[np.float64]:
    if not 0 <= power <= 1:
        raise InputError(
            f"the sampling power is {power}, outside [0, 1]: 1 is natural, 0.5 square-root, 0 "
            "class-balanced."
        )
    if counts.min() < 0 or counts.max() == 0:
        raise InputError("counts are negative or all 0; there is nothing to draw from.")
    mass = np.where(counts > 0, counts.astype(np.float64) ** power, 0.0)  # 0**0 is 1
    # fsum: the order of a plain sum, and with it the last bit, differs between processors.
    shares: NDArray[np.float64] = mass / math.fsum(mass)
    return shares


def _draws_before(counts: Order, power: float, total: int, epoch: int) -> Order:
    """(C,) draws of each class in all epochs before `epoch`; they sum to epoch * total.

    As `whole_draws`, with the last end exact. N P(c) >= 1 holds for each class with images at
    powers in [0, 1].
    """
    ends = np.cumsum(_shares(counts, power))
    ends[-1] = 1.0
    upto = np.rint(ends * (epoch * total)).astype(np.int64)
    return np.diff(upto, prepend=0)


def _positions(n_members: int, start: int, n_draws: int, seed: int, class_id: int) -> Order:
    """Draws start to start + n_draws of the endless shuffled rounds through n_members rows."""
    if n_draws == 0:
        return np.empty(0, dtype=np.int64)
    first, last = start // n_members, (start + n_draws - 1) // n_members
    # Philox counts: round r begins at a known place of its stream, whatever was drawn before. One
    # count yields four numbers.
    counts_per_round = -(-n_members // 4)
    bits = np.random.Philox(key=stream_seed(seed, "class rounds", class_id))
    bits.advance(first * counts_per_round)
    keys = bits.random_raw((last - first + 1) * counts_per_round * 4)
    keys = keys.reshape(last - first + 1, counts_per_round * 4)[:, :n_members]
    rounds = np.argsort(keys, axis=1, kind="stable").ravel()
    skipped = start - first * n_members
    return rounds[skipped : skipped + n_draws]


def _random_keys(n: int, key: int) -> NDArray[np.uint64]:
    # Raw bits and a stable sort, not Generator.permutation: numpy promises the bits for good, but
    # may change the permutations between versions, and a resumed run would see other batches.
    return np.random.Philox(key=key).random_raw(n)


def checked_labels(labels: ArrayLike) -> Order:
    """(N,) int64 class ids.

    Raises:
        InputError: no labels, one missing (-1) or not a whole number.
    """
    ids = np.asarray(labels)
    if ids.ndim != 1 or ids.size == 0:
        raise InputError(f"labels have shape {ids.shape}; (N,) with N > 0 is expected.")
    if not np.issubdtype(ids.dtype, np.integer):
        raise InputError(f"labels are {ids.dtype}; whole numbers are expected.")
    if ids.min() < 0:
        row = int(np.flatnonzero(ids < 0)[0])
        raise InputError(f"row {row} has label {int(ids[row])}: it cannot be trained on.")
    return ids.astype(np.int64)
