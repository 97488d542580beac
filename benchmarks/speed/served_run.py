"""A run whose network was never trained, and a server of it in a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from everyclass.models.backbones import build_backbone
from everyclass.models.classifier import Classifier, Preprocessing
from everyclass.models.decision import Decision
from everyclass.models.file import SavedModel, save_model
from everyclass.run_folder import RunFolder
from everyclass.stats.evaluation import evaluate_predictions
from everyclass.workflows.prediction_sets import write_scores

MEAN, STD = (0.67, 0.64, 0.60), (0.20, 0.20, 0.22)


def untrained_run(folder: Path, *, model: str, side: int, classes: int = 6) -> Path:
    """A run folder as `train` leaves it, with invented figures: time does not depend on them."""
    names = tuple(f"class {k}" for k in range(classes))
    equal = (1 / classes,) * classes
    backbone = build_backbone(model, side=side, n_classes=classes, seed=0)
    saved = SavedModel(
        classifier=Classifier(
            backbone.network, Preprocessing(side=side, mean=MEAN, std=STD)
        ).eval(),
        name=model,
        small_stem=backbone.small_stem,
        classes=names,
        decision=Decision(logits_prior=equal, natural_prior=equal),
    )
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").touch()  # what makes a folder a run
    save_model(folder, saved)
    rng = np.random.default_rng(0)
    targets = rng.integers(0, classes, size=60 * classes)
    logits = rng.normal(size=(targets.size, classes)).astype(np.float32)
    logits[np.arange(targets.size), targets] += 2
    probs = saved.decision.probabilities(logits)
    run = RunFolder(folder)
    write_scores(run, saved, logits, targets)
    evaluation = evaluate_predictions(
        targets,
        logits.argmax(axis=1),
        probs=probs,
        probs_before_temperature=probs,
        classes=names,
        split="test",
        decision="balanced",
        prior=equal,
    )
    run.write_json(run.evaluation, evaluation.to_dict())
    return folder


@contextmanager
def serving(run: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`everyclass serve` on a free port; yields the process and the address."""
    command = [sys.executable, "-u", "-m", "everyclass", "serve", str(run), "--port", "0"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        first = process.stdout.readline()
        found = re.search(r"http://[0-9.:]+", first)
        if found is None:
            raise RuntimeError(f"the server did not start: {first}")
        try:
            yield process, found[0]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(300)  # a busy machine takes its time even to end
