"""Sums over two real gloo processes against the same passes watched in one process."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from everyclass.errors import InputError
from everyclass.findings import Finding
from everyclass.monitoring.measures import Rows, measure, packed_confusion
from everyclass.monitoring.monitor import Monitor
from everyclass.monitoring.ranks import RankSums, rank_sums_if_distributed

CLASSES = 3
STEPS = 44  # blocks of 4, 8, 16 and 16 of a block of 32
LOCAL_BATCH = 32


def _pass(step: int, rank: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores that know the label, of which rank 1 has another mix of classes than rank 0."""
    generator = torch.Generator().manual_seed(1000 * step + rank)
    targets = torch.randint(0, CLASSES - rank, (LOCAL_BATCH - 8 * rank,), generator=generator)
    scores = torch.randn(len(targets), CLASSES, generator=generator)
    scores += 2 * torch.nn.functional.one_hot(targets, CLASSES)
    return scores, targets, torch.nn.functional.cross_entropy(scores, targets)


def _both(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    parts = [_pass(step, rank) for rank in (0, 1)]
    return torch.cat([one[0] for one in parts]), torch.cat([one[1] for one in parts])


def _one_of_two(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    try:
        seen = {"watch": _watch(rank), "starve": _starve(rank), "uneven": _uneven(rank)}
        torch.save(seen, Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


def _watch(rank: int) -> dict[str, Any]:
    sums = rank_sums_if_distributed()
    assert sums is not None
    packed = measure(
        [_pass(step, rank)[0] for step in range(5)],
        [_pass(step, rank)[1] for step in range(5)],
        [_pass(step, rank)[2] for step in range(5)],
        kind="logits",
        log_prior=torch.zeros(CLASSES),
    )
    block = sums.sum_block(packed, n_passes=5, n_classes=CLASSES)

    monitor = Monitor(ranks=RankSums())
    for step in range(STEPS):
        monitor.step(*_pass(step, rank))
        if rank == 0:
            monitor.summary()  # one rank alone may ask, at any time
    whole_blocks = monitor.summary().figures
    monitor.catch_up()
    figures = monitor.summary().figures
    if rank == 0:  # the other rank's share of the evaluation holds no image
        scores, targets, _ = _pass(99, 0)
        monitor.observe_evaluation(scores, targets)
    monitor.end_evaluation()
    monitor.end_evaluation()
    return {
        "block": block,
        "whole_blocks": whole_blocks,
        "figures": figures,
        "evaluation": monitor.summary().evaluation,
    }


def _starve(rank: int) -> list[tuple[object, ...]]:
    """Only rank 1 has images of class 2, which nobody predicts."""
    found: list[Finding] = []
    monitor = Monitor(ranks=RankSums(), on_finding=found.append)
    for step in range(400):
        scores, targets, _ = _pass(step, 1)
        scores[:, 2] = -0.5
        if rank == 1:
            targets[:8] = 2
        monitor.step(scores, targets)
    return [(one.id, one.seen_step, one.evidence) for one in found]


def _uneven(rank: int) -> str:
    monitor = Monitor(ranks=RankSums(timeout_seconds=60))
    scores, targets, _ = _pass(0, rank)
    try:
        if rank == 1:
            scores = scores[:, :2]
        for _ in range(4):
            monitor.step(scores, targets)
    except InputError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_one_of_two, args=(port, str(folder)), nprocs=2, join=True)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.fixture
def watched(both: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one["watch"] for one in both]


def test_block_is_that_of_the_joined_batch(watched: list[dict[str, Any]]) -> None:
    """Oracle: the same passes, concatenated over ranks, measured in one process."""
    passes = [_both(step) for step in range(5)]
    expected = measure(
        [one[0] for one in passes],
        [one[1] for one in passes],
        [torch.nn.functional.cross_entropy(*one) for one in passes],
        kind="logits",
        log_prior=torch.zeros(CLASSES),
    )
    size = {"n_passes": 5, "n_classes": CLASSES}
    block = watched[0]["block"]
    assert torch.equal(block, watched[1]["block"])
    ours = Rows.from_packed(block.double().numpy(), **size)
    whole = Rows.from_packed(expected.double().numpy(), **size)
    for name in ("predicted", "labelled", "hits", "images", "non_finite"):
        assert (getattr(ours, name) == getattr(whole, name)).all(), name
    for name in ("own_log_probs", "log_loss", "shifted_log_loss", "own_score", "square_score"):
        assert getattr(ours, name) == pytest.approx(getattr(whole, name), rel=1e-5), name
    assert ours.given_loss == pytest.approx(whole.given_loss, rel=1e-5)
    ours_confusion = packed_confusion(block.double().numpy(), **size)
    whole_confusion = packed_confusion(expected.double().numpy(), **size)
    assert ours_confusion is not None
    assert (ours_confusion == whole_confusion).all()


def test_shuffled_score_is_that_of_shuffles_within_ranks(
    watched: list[dict[str, Any]],
) -> None:
    """Hand-computed from each rank's own figure: the mean, weighted with 32 and 24 images."""
    single = []
    for rank in (0, 1):
        scores, targets, _ = _pass(0, rank)
        packed = measure([scores], [targets], [None], kind="logits", log_prior=torch.zeros(CLASSES))
        rows = Rows.from_packed(packed.double().numpy(), n_passes=1, n_classes=CLASSES)
        single.append(rows.shuffled_score[0])
    block = watched[0]["block"]
    ours = Rows.from_packed(block.double().numpy(), n_passes=5, n_classes=CLASSES)
    assert ours.shuffled_score[0] == pytest.approx((32 * single[0] + 24 * single[1]) / 56, rel=1e-5)


def test_each_rank_reports_the_counts_of_both(watched: list[dict[str, Any]]) -> None:
    alone = Monitor()
    for step in range(STEPS):
        alone.step(*_both(step))
    expected = alone.summary().figures
    assert expected is not None
    for rank in (0, 1):
        figures = watched[rank]["figures"]
        assert figures.seen == expected.seen
        assert figures.recalls == expected.recalls
        assert figures.images == expected.images
        assert figures.loss == pytest.approx(expected.loss)


def test_between_blocks_the_answer_is_of_whole_blocks(watched: list[dict[str, Any]]) -> None:
    figures = watched[0]["whole_blocks"]
    assert figures.images == 28 * 56  # passes 0 to 27 of both


def test_an_evaluation_of_one_rank_counts_on_both(watched: list[dict[str, Any]]) -> None:
    assert watched[0]["evaluation"] == watched[1]["evaluation"]
    assert watched[1]["evaluation"].images == LOCAL_BATCH


def test_alarm_is_raised_on_all_ranks_at_one_step(both: list[dict[str, Any]]) -> None:
    assert both[0]["starve"] == both[1]["starve"]
    name, _, evidence = both[0]["starve"][0]
    assert name == "starved"
    assert [one["class"] for one in evidence["classes"]] == ["2"]


def test_ranks_that_do_not_watch_the_same_are_told(both: list[dict[str, Any]]) -> None:
    for one in both:
        assert "rank 0 comes with (0, 4, 3) and rank 1 with (0, 4, 2)" in one["uneven"]


def test_one_process_needs_no_sums() -> None:
    assert rank_sums_if_distributed() is None
