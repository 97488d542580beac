"""A diagnosis as it is shown: the answer first, its proof, the line to change, what was tried."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from everyclass.diagnoses import Cause, Diagnosis, Remedy, Trial
from everyclass.terminal.diagnosis import diagnosis_view

TRIAL = Trial(
    change="rate-ten-times",
    causes=("learning-rate-too-low",),
    words="ten times the learning rate",
    steps=320,
    control=0.1,
    changed=0.9,
    gain=0.8,
    ci95=(0.75, 0.85),
    chance=0.1,
    seeds=2,
    images=352,
    missed=(),
    recovered=True,
    proved=True,
)
DIAGNOSIS = Diagnosis(
    verdict="not-learning",
    step=315,
    sentence="The training is not-learning; the cause is learning-rate-too-low (proved).",
    causes=(
        Cause(id="learning-rate-too-low", proved=True, sentence="It is 0.90.", trial=TRIAL),
        Cause(id="dead-units", proved=False, sentence="Units are dead."),
    ),
    remedies=(
        Remedy(
            cause="learning-rate-too-low",
            sentence="Multiply the learning rate by 10.",
            code="train.py:9: lr=0.001 -> lr=0.01",
        ),
    ),
    trials=(TRIAL, replace(TRIAL, change="shuffled", ci95=(-0.1, 0.1), proved=False)),
    notes=("The budget was spent.",),
    seconds=12.3,
)


def shown(diagnosis: Diagnosis) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(diagnosis_view(diagnosis))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line) <= 80 for line in text.splitlines())
    return str(text)


def test_the_answer_comes_first_with_its_proof_and_line() -> None:
    text = shown(DIAGNOSIS)
    assert "1. learning-rate-too-low proved It is 0.90." in text
    assert "do: Multiply the learning rate by 10." in text
    assert "train.py:9: lr=0.001 -> lr=0.01" in text
    assert "2. dead-units suspected" in text
    assert "rate-ten-times   0.10 -> 0.90       +0.75 to +0.85  proved" in text
    assert "The budget was spent." in text
    assert "12 s of trials" in text


def test_many_trials_and_causes_are_counted() -> None:
    many = replace(DIAGNOSIS, trials=(TRIAL,) * 9, causes=DIAGNOSIS.causes * 3)
    text = shown(many)
    assert "and 3 more" in text
    assert "and 3 more suspicions" in text


def test_as_text_and_as_json() -> None:
    assert str(DIAGNOSIS).splitlines()[1:4] == [
        "1. learning-rate-too-low (proved): It is 0.90.",
        "   -> Multiply the learning rate by 10.",
        "      train.py:9: lr=0.001 -> lr=0.01",
    ]
    value = DIAGNOSIS.to_dict()
    assert [one["rank"] for one in value["causes"]] == [1, 2]
    assert value["causes"][0]["trial"]["ci95"] == [0.75, 0.85]
    assert value["causes"][1]["trial"] is None
