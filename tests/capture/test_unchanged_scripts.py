"""Metamorphic: whatever a script prints is the same with and without the watch, to the last bit.

Each script runs twice in this process; `everyclass run` in a process of its own is tested in
`tests/workflows/test_run_script.py`.
"""

from __future__ import annotations

import contextlib
import io
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from everyclass.capture.execute import Target, execute
from everyclass.workflows.run_script import RunOptions, RunOutcome, run_script

SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the watch has to see of a script."""

    model: str
    loss: str
    steps: int
    training: int
    evaluation: int = 0
    skipped: int = 0
    batches_with_inputs: bool = True
    note: str = ""


EXPECTED = {
    "plain_loop": Expected(
        model="Net",
        loss="cross_entropy, label smoothing 0.1",
        steps=20,
        training=20,
        evaluation=6,
        note="Evaluation passes without a loss",
    ),
    "workers": Expected(model="Net", loss="cross_entropy, class weights", steps=12, training=12),
    "mixed_precision": Expected(model="Net", loss="cross_entropy", steps=7, training=8, skipped=1),
    "accumulation": Expected(
        model="Net",
        loss="cross_entropy",
        steps=4,
        training=16,
        evaluation=8,
        note="evaluation passes the network was in train mode",
    ),
    "compiled": Expected(model="Net, compiled", loss="cross_entropy", steps=8, training=8),
    "compiled_step": Expected(
        model="Net",
        loss="cross_entropy",
        steps=8,
        training=8,
        batches_with_inputs=False,
        note="own call was never seen",
    ),
    "wrapped": Expected(
        model="DataParallel", loss="cross_entropy", steps=8, training=8, note="other networks"
    ),
    "by_hand": Expected(
        model="Net", loss="written by hand", steps=8, training=8, note="written by hand"
    ),
    "by_hand_binary": Expected(
        model="Net", loss="written by hand", steps=8, training=8, evaluation=8, note="by hand"
    ),
    "binary": Expected(
        model="Net", loss="binary_cross_entropy_with_logits, pos_weight", steps=8, training=8
    ),
    "two_optimizers": Expected(
        model="Net", loss="cross_entropy", steps=8, training=8, note="3 optimizers stepped"
    ),
    # The first pass finds the network, the second one its weights; a change shows at the next.
    "own_update": Expected(
        model="Net", loss="cross_entropy", steps=8, training=10, note="without an optimizer"
    ),
    "fastai_like": Expected(
        model="Net", loss="cross_entropy", steps=10, training=10, note="fastai's own"
    ),
    "lightning_script": Expected(
        model="Net", loss="cross_entropy", steps=10, training=10, evaluation=4
    ),
    "hf_trainer": Expected(
        model="ViTForImageClassification",
        loss="cross_entropy",
        steps=10,
        training=10,
        evaluation=16,
    ),
}


def output_of(name: str, *, watched: bool) -> tuple[str, RunOutcome | None]:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the scripts use the global generators
    torch.manual_seed(0)
    target = Target(name=str(SCRIPTS / f"{name}.py"))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if not watched:
            assert execute(target).code == 0
            return printed.getvalue(), None
        outcome = run_script(target, RunOptions())
    assert outcome.code == 0
    return printed.getvalue(), outcome


@pytest.mark.parametrize("name", EXPECTED)
def test_a_watched_script_prints_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The checks have tests of their own, and run when the script is over.
    monkeypatch.setattr("everyclass.diagnosis.check.check_case", lambda case: ())
    alone, _ = output_of(name, watched=False)
    watched, outcome = output_of(name, watched=True)
    assert watched == alone
    assert len(alone.splitlines()) >= 8
    assert outcome is not None
    seen, expected = outcome.report.watched, EXPECTED[name]
    assert seen.model.split(" (")[0] == expected.model
    assert seen.loss.split(" (")[0] == expected.loss
    assert seen.training_passes == expected.training
    assert seen.steps == outcome.report.step == expected.steps
    assert seen.evaluation_passes == expected.evaluation
    assert seen.skipped_steps == expected.skipped
    assert any(expected.note in note for note in ("", *seen.notes)), seen.notes
    assert outcome.case is not None
    assert outcome.case.batches
    assert all(
        bool(one.args or one.keywords) == expected.batches_with_inputs
        for one in outcome.case.batches
    )
