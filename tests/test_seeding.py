from __future__ import annotations

from everyclass.seeding import stream_seed


def test_streams_are_fixed_for_ever() -> None:
    # Golden: a change here would change every split and every training ever made.
    assert stream_seed(0, "augment", 3) == 3248100074690797057


def test_names_and_positions_give_different_streams() -> None:
    seeds = {
        stream_seed(seed, name, step) for seed in (0, 1) for name in "ab" for step in range(100)
    }
    assert len(seeds) == 400
    assert all(0 <= value < 2**63 for value in seeds)


def test_parts_do_not_run_together() -> None:
    assert stream_seed(0, "a", "b") != stream_seed(0, "ab")
    assert stream_seed(1, "1") != stream_seed(11)
