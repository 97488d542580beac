"""What values show in a notebook, and diagnoses read back from JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from everyclass import notebook
from everyclass.contracts import Evaluation
from everyclass.diagnoses import Cause, Diagnosis, Remedy, Trial
from everyclass.errors import InputError
from everyclass.findings import CheckResult, Finding
from everyclass.images.audit_values import (
    Audit,
    AuditWarning,
    ImageSizes,
    SplitFacts,
    Spread,
)
from everyclass.recipe import Decision, Recipe
from everyclass.stats.evaluation import evaluate_predictions

EVIL = "<script>alert('1')</script>"


class Tags(HTMLParser):
    """Names of the tags that are open and closed in order; the words between them."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.stack: list[str] = []
        self.words = ""
        self.feed(content)
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.append(tag)
        if tag != "br":
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def evaluation(n_classes: int = 3) -> Evaluation:
    labels = np.arange(n_classes).repeat(4)
    answers = np.where(labels == 0, 1, labels)
    probs = np.full((len(labels), n_classes), 1 / n_classes)
    return evaluate_predictions(
        labels,
        answers,
        probs=probs,
        probs_before_temperature=probs,
        classes=[EVIL, *(f"c{k}" for k in range(1, n_classes))],
        split="test",
        decision="balanced",
        prior=[1 / n_classes] * n_classes,
    )


def audit() -> Audit:
    spread = Spread(low=10, median=10, high=10)
    part = SplitFacts(
        split="train", n=30, counts=(20, 10), n_pixels=9, mean=(0.5,) * 3, std=(0.2,) * 3
    )
    return Audit(
        source="cells",
        side=8,
        classes=(EVIL, "birch"),
        n=30,
        splits=(part,),
        unlabelled=0,
        imbalance_ratio=2.0,
        effective_classes=1.9,
        mean=(0.5,) * 3,
        std=(0.2,) * 3,
        sizes=ImageSizes(width=spread, height=spread, distinct=1, common=(), smaller=0),
        kinds=(),
        reduced=0,
        unreadable=(),
        set_aside=(),
        blank=(),
        duplicates=(),
        straddling=(),
        label_order=None,
        warnings=(
            AuditWarning(id="x", harm="harmful", sentence=EVIL, remedy="Mend <it>.", evidence={}),
        ),
        meaning=("All & well.",),
    )


FINDING = Finding(
    id="collapsed", since_step=3, seen_step=9, severity="alarm", evidence={"n": 3}, sentence=EVIL
)
TRIAL = Trial(
    change="rate-10",
    causes=("learning-rate-too-high",),
    words=EVIL,
    steps=10,
    control=0.3,
    changed=0.8,
    gain=0.5,
    ci95=(0.4, 0.6),
    chance=0.3,
    seeds=2,
    images=64,
    missed=(1, 2),
    recovered=True,
    proved=True,
    sham=0.3,
)
DIAGNOSIS = Diagnosis(
    verdict="collapsed",
    step=9,
    sentence=EVIL,
    findings=(FINDING,),
    causes=(
        Cause(id="learning-rate-too-high", proved=True, sentence=EVIL, trial=TRIAL),
        Cause(id="dead-units", proved=False, sentence="Dead.", evidence={"fact": True}),
    ),
    remedies=(Remedy(cause="learning-rate-too-high", sentence=EVIL, code="train.py:3"),),
    trials=(TRIAL,),
    excluded={"sham": "Too few."},
    notes=("A note.",),
    checks=(
        CheckResult(
            name="a", outcome="issue", cause="dead-units", evidence={}, sentence="s", remedy="r"
        ),
        CheckResult(name="b", outcome="passed", cause=None, evidence={}, sentence="t"),
    ),
    seconds=3.25,
)
RECIPE = Recipe(
    decisions=(Decision(name="model", value=EVIL, reason="because < of", origin="user"),)
)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (evaluation(), ["balanced accuracy", "0.667", "n/a", "too few images to judge"]),
        (audit(), ["30 images, 2 classes", "All & well.", "Mend <it>.", "66.7%"]),
        (RECIPE, ["because < of", "user"]),
        (FINDING, ["collapsed: alarm at step 9, since step 3"]),
        (DIAGNOSIS, ["0.30", "0.80", "+0.40 to +0.60", "proved", "train.py:3", "A note."]),
    ],
    ids=["Evaluation", "Audit", "Recipe", "Finding", "Diagnosis"],
)
def test_values_show_themselves_and_escape_what_they_hold(value: Any, words: list[str]) -> None:
    content = value._repr_html_()
    tags = Tags(content)
    assert "script" not in tags.names
    assert EVIL in tags.words
    for one in words:
        assert one in tags.words
    assert "color" not in content  # readable in a light and in a dark notebook


def test_of_many_classes_the_worst_are_shown() -> None:
    words = Tags(evaluation(70)._repr_html_()).words
    assert "and 20 more classes" in words
    assert EVIL in words  # at recall 0, the worst of all


def test_a_table_names_its_rows_and_columns() -> None:
    content = notebook.table(("class", "n"), [("a<b", "3")])
    assert content.count('scope="col"') == 2
    assert '<th scope="row" style="text-align:left">a&lt;b</th>' in content


def test_bars() -> None:
    assert notebook.bar(0.5, cells=4) == "██··"
    assert notebook.bar(None) == ""


@pytest.mark.parametrize("diagnosis", [DIAGNOSIS, replace(DIAGNOSIS, verdict=None, causes=())])
def test_a_diagnosis_survives_its_json(diagnosis: Diagnosis) -> None:
    assert Diagnosis.from_dict(json.loads(json.dumps(diagnosis.to_dict()))) == diagnosis


def test_a_newer_diagnosis_and_an_older_trial_are_read() -> None:
    value = {**DIAGNOSIS.to_dict(), "overhead": {"seconds": 1}, "new": 3}
    del value["trials"][0]["judged_on"]
    assert Diagnosis.from_dict(value).trials[0].judged_on == "held-out"


@pytest.mark.parametrize(
    ("path", "bad", "words"),
    [
        (("verdict",), "sick", "'sick' is not one of"),
        (("trials", 0, "control"), 1.5, "outside"),
        (("trials", 0, "ci95"), [1], "not 2"),
        (("trials", 0, "judged_on"), "both", "judged_on"),
        (("findings", 0, "severity"), "loud", "severity"),
        (("checks", 0, "outcome"), "maybe", "outcome"),
        (("checks", 1, "cause"), "dead-units", "an issue names a cause"),
        (("causes", 0, "evidence"), [], "not an object"),
        (("seconds",), "long", "not a finite number"),
    ],
)
def test_what_is_no_diagnosis_is_refused(path: tuple[Any, ...], bad: object, words: str) -> None:
    value = json.loads(json.dumps(DIAGNOSIS.to_dict()))
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = bad
    with pytest.raises(InputError, match=words):
        Diagnosis.from_dict(value)
