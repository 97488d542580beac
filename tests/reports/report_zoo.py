"""What the tests of reports share: folders as `train` and `run` leave them, without training."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from everyclass.decide import Machine, decide
from everyclass.diagnoses import Cause, Diagnosis, Remedy, Trial
from everyclass.findings import CheckResult, Finding
from everyclass.images.audit import audit_images
from everyclass.images.audit_values import Audit
from everyclass.images.readers import read_table
from everyclass.images.split import assign_splits
from everyclass.images.table import ImageTable
from everyclass.recipe import Decision
from everyclass.repairs import Repair, SettingChange
from everyclass.stats.conformal import ConformalThresholds, evaluate_sets
from everyclass.stats.evaluation import evaluate_predictions
from everyclass.stats.slices import find_slices

HOSTILE = "<b onclick=alert(1)>&'\"{{7*7}}"
"""A class as no one should be able to call it: markup, an entity, quotes, a template."""

NAMES = ("ash", HOSTILE, "cedar")


def write_images(folder: Path, counts: dict[str, int], *, side: int = 24, seed: int = 0) -> Path:
    """Noise, a folder a class; the first two of the first class are the same file, and so is the
    first of the last class, under another label."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for k in range(count):
            pixels = rng.integers(0, 255, size=(side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k:03d}.png")
    first, last = next(iter(counts)), list(counts)[-1]
    content = (folder / first / "000.png").read_bytes()
    (folder / first / "001.png").write_bytes(content)
    (folder / last / "000.png").write_bytes(content)
    Image.new("RGB", (side, side // 2), (9, 9, 9)).save(folder / first / "002.png")
    return folder


def audited(folder: Path) -> tuple[ImageTable, Audit]:
    table, _ = assign_splits(read_table(str(folder)), val_fraction=0.3, test_fraction=0.3, seed=0)
    return table, audit_images(table, side=16, threads=1)


def write_run(path: Path, images: Path, *, mistakes: int = 4, repeats: int = 1) -> Path:
    """A finished training on these images, with every file that a report reads.

    Args:
        mistakes: of the test images given another class than theirs.
        repeats: times that each test image stands in the predictions.
    """
    path.mkdir(parents=True)
    table, audit = audited(images)
    write_json(path / "audit.json", audit.to_dict())
    recipe = decide(
        audit,
        side=Decision(name="image_size", value=16, reason="for the test", origin="audit"),
        machine=Machine(device="cpu", threads=1, bf16=False),
        wishes={"epochs": 3},
    )
    (path / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    rows = np.flatnonzero(table.split_codes() == 2).repeat(repeats)
    labels = table.labels()[rows]
    answers = labels.copy()
    answers[:mistakes] = (labels[:mistakes] + 1) % len(table.classes)
    write_results(path, table, rows, labels, answers)
    write_log(path, table.classes)
    write_json(path / "findings.json", watch_of(table.classes))
    write_json(path / "checks.json", {"seconds": 1.0, "results": [c.to_dict() for c in CHECKS]})
    write_json(path / "model.json", {"model": "resnet10t"})
    write_json(
        path / "environment.json",
        {
            "python": "3.12.1",
            "system": "Linux",
            "threads": 1,
            "packages": {"torch": "2.9.0"},
            "command": ["everyclass", "train", str(images), "--out", "a b"],
        },
    )
    return path


def write_results(path: Path, table: ImageTable, rows: Any, labels: Any, answers: Any) -> None:
    n, classes = len(rows), table.classes
    rng = np.random.default_rng(1)
    probs = rng.dirichlet(np.ones(len(classes)), size=n) * 0.4
    probs[np.arange(n), answers] += 0.6
    thresholds = ConformalThresholds(
        coverage=0.9,
        classes=classes,
        counts=np.full(len(classes), 30),
        thresholds=np.full(len(classes), 0.2),
    )
    evaluation = evaluate_predictions(
        labels,
        answers,
        probs=probs,
        probs_before_temperature=probs,
        classes=classes,
        split="test",
        decision="balanced",
        prior=[1 / len(classes)] * len(classes),
        temperature=1.3,
        train_counts=table.counts("train"),
        prediction_sets=evaluate_sets(thresholds, probs, labels),
    )
    slices = find_slices(
        labels == answers,
        labels,
        classes=classes,
        groups=["left" if k % 3 else "right" for k in range(n)],
    )
    write_json(path / "evaluation.json", replace(evaluation, slices=slices).to_dict())
    with open(path / "predictions.csv", "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        head = ["image", "label", "prediction_balanced", "prediction_natural", "confidence"]
        out.writerow([*head, "reason", *(f"prob_{name}" for name in classes)])
        for k, row in enumerate(rows):
            answer = classes[answers[k]]
            known = [table.image(int(row)), classes[labels[k]], answer, answer]
            out.writerow([*known, probs[k, answers[k]], "", *probs[k]])


def write_log(path: Path, classes: Sequence[str], name: str = "metrics.jsonl") -> None:
    lines = [
        {
            "step": 10 * (epoch + 1),
            "epoch": epoch,
            "train_loss": 1.0 - 0.2 * epoch,
            "val_loss": 1.1 - 0.1 * epoch,
            "balanced_accuracy": 0.4 + 0.1 * epoch,
            "recall": {name: 0.1 * k + 0.1 * epoch for k, name in enumerate(classes)},
            "best": True,
        }
        for epoch in range(3)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (path / name).write_text(text + '{"step": 31, "epo', encoding="utf-8")  # killed while writing


def watch_of(classes: Sequence[str], *, verdict: str = "healthy") -> dict[str, Any]:
    ill = verdict != "healthy"
    return {
        "verdict": verdict,
        "phase": "opening" if ill else "learned",
        "sentence": "The predictions tell the classes apart since step 7.",
        "step": 30,
        "learning": not ill,
        "informative_since": None if ill else 7,
        "single_class_phases": [{"class": classes[0], "first_step": 2, "last_step": 5}],
        "figures": {
            "images": 64,
            "classes": [
                {"name": name, "images": 20, "recall": 0.25 * k, "predicted_share": 0.5 * (k > 0)}
                for k, name in enumerate(classes)
            ],
            "loss": 1.0,
            "prior_loss": 1.1,
        },
        "findings": [FINDING.to_dict()] if ill else [],
        "evaluation": None,
        "layers": [],
        "ignored_passes": 0,
    }


FINDING = Finding(
    id="collapsed",
    since_step=12,
    seen_step=20,
    severity="alarm",
    evidence={"images": 64},
    sentence="Every batch is given a single class, 'ash'.",
)
CHECKS = (
    CheckResult(name="label-range", outcome="passed", cause=None, evidence={}, sentence="Ids fit."),
    CheckResult(
        name="outputs-are-scores",
        outcome="issue",
        cause="softmax-before-loss",
        evidence={"row_sum": 1.0},
        sentence="Each row sums to 1.",
        remedy="Return logits.",
    ),
    CheckResult(
        name="penalty", outcome="not-applicable", cause=None, evidence={}, sentence="No own loss."
    ),
)
PROVED = Trial(
    change="probabilities-to-logits",
    causes=("softmax-before-loss",),
    words="the softmax before the loss undone",
    steps=100,
    control=0.33,
    changed=0.9,
    gain=0.57,
    ci95=(0.4, 0.7),
    chance=0.33,
    seeds=2,
    images=64,
    missed=(),
    recovered=True,
    proved=True,
    sham=0.31,
    permuted=0.3,
)
VAIN = replace(
    PROVED, words="no <dropout>", proved=False, changed=0.34, gain=0.01, ci95=(-0.05, 0.07),
    sham=None, permuted=None, recovered=False, missed=(1,), judged_on="trained",
)  # fmt: skip
DIAGNOSIS = Diagnosis(
    verdict="collapsed",
    step=20,
    sentence="The training is collapsed; the cause is softmax-before-loss (proved by experiment).",
    findings=(FINDING,),
    causes=(
        Cause(
            id="softmax-before-loss",
            proved=True,
            sentence="Balanced accuracy is 0.90 instead of 0.33.",
            trial=PROVED,
            evidence={"row_sum": 1.0},
        ),
        Cause(id="dead-units", proved=False, sentence="Units of <conv1> are dead."),
    ),
    remedies=(Remedy(cause="softmax-before-loss", sentence="Return logits.", code="train.py:17"),),
    trials=(PROVED, VAIN),
    excluded={"statistics-anew": "The network has no BatchNorm."},
    notes=("3 changes were not tried.",),
    checks=CHECKS,
    seconds=12.5,
)
REPAIR = Repair(
    number=1,
    outcome="repaired",
    verdict="collapsed",
    step=20,
    since_step=12,
    alarm="Every batch is given a single class.",
    cause="learning-rate-too-high",
    proved=True,
    trial="rate-10",
    changes=(SettingChange(name="learning_rate", old=0.3, new=0.001),),
    reason="With a tenth of the rate it learns.",
    from_step=10,
    checkpoint="checkpoints/step-000000010-0.pt",
    seconds=21.0,
)


def add_repair(run: Path, classes: Sequence[str], **changes: Any) -> None:
    """As if the run had been repaired after its second epoch, and had gone back to its first."""
    repair = replace(REPAIR, **changes)
    write_json(run / "repairs.json", {"repairs": [repair.to_dict()]})
    write_json(run / "diagnosis-1.json", DIAGNOSIS.to_dict())
    if repair.outcome == "repaired":
        text = (run / "recipe.yaml").read_text(encoding="utf-8")
        text = text.replace("epochs:\n  value: 3", "epochs:\n  value: 4")
        (run / "recipe-1.yaml").write_text(text, encoding="utf-8")
        write_log(run, classes, "metrics-1.jsonl")


def write_script(path: Path, classes: Sequence[str] = NAMES, *, fixed: bool = True) -> Path:
    """What `everyclass run --out` leaves."""
    path.mkdir(parents=True)
    summary = watch_of(classes, verdict="collapsed")
    found = {
        "script": "train.py --name '<i>x</i>'",
        "ended": "finished",
        "verdict": "collapsed",
        "sentence": "Every batch is given a single class.",
        "step": 30,
        "phase": "opening",
        "findings": [FINDING.to_dict()],
        "checks": [one.to_dict() for one in CHECKS],
        "watched": {
            "model": "Net (train.py:17)",
            "loss": "cross_entropy",
            "optimizer": "",
            "batches": "32",
            "steps": 30,
            "training_passes": 30,
            "evaluation_passes": 0,
            "skipped_steps": 2,
            "notes": ["One of <two> networks."],
        },
        "call_sites": {},
        "overhead": {"seconds": 0.1, "fraction": 0.012},
        "summary": summary,
    }
    write_json(path / "findings.json", found)
    write_json(path / "diagnosis.json", {**DIAGNOSIS.to_dict(), "overhead": {"seconds": 0.1}})
    if fixed:
        write_json(path / "fix.json", FIX)
    return path


def _seen(verdict: str, recall: float, **others: Any) -> dict[str, Any]:
    return {
        "ended": "finished",
        "verdict": verdict,
        "step": 30,
        "phase": "learned",
        "judged_on": "recent training batches",
        "balanced_accuracy": recall,
        "lowest_recall": recall,
        "lowest_class": "ash",
        "predicted": 3,
        "classes": 3,
        "recalls": {"ash": recall, HOSTILE: None, "cedar": 0.5},
        **others,
    }


FIX = {
    "copy": "train.fixed.py",
    "causes": ["softmax-before-loss"],
    "edits": ["softmax in line 16 is taken out."],
    "diff": "--- train.py\n+++ train.fixed.py\n@@ -1 +1 @@\n-return softmax(x) # <b>\n+return x\n",
    "refused": [],
    "before": _seen("starved", 0.0),
    "after": _seen("healthy", 0.9),
}


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
