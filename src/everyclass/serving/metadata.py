"""What travels with an exported model: enough to use it honestly where everyclass is not.

Comes in: a run and its model. Goes out: JSON-ready values.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import timm
from pyarrow import parquet

from everyclass.errors import InputError
from everyclass.images.table import SPLITS
from everyclass.models.file import WEIGHTS, SavedModel
from everyclass.models.pretrained import find_weights
from everyclass.recipe import Recipe
from everyclass.run_folder import RunFolder
from everyclass.settings import is_function, is_reference

FORMAT = 1


def metadata_of(run: RunFolder, model: SavedModel) -> dict[str, Any]:
    """Classes in order, priors, temperature, preprocessing, where the weights come from.

    `training_counts` is None, and so is `pretrained_weights`, where the run's files do not tell.
    """
    preprocessing, decision = model.classifier.preprocessing, model.decision
    return {
        "everyclass_export": FORMAT,
        "everyclass_version": version("everyclass"),
        "torch_version": version("torch"),
        "model": model.name,
        "classes": list(model.classes),
        "input": "images: uint8 RGB, (batch, 3, height, width), any size; resizing to "
        "image_side and normalisation are inside",
        "outputs": {
            "probabilities": "(batch, class): calibrated, at the frequencies of training_prior",
            "balanced_scores": "(batch, class): the largest is the decision for the highest mean "
            "recall; no probabilities",
        },
        "image_side": preprocessing.side,
        "normalisation": {
            "scale": preprocessing.scale,
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
        },
        "training_counts": _counts(run, len(model.classes)),
        "training_prior": list(decision.natural_prior),
        "logits_prior": list(decision.logits_prior),
        "temperature": decision.temperature,
        "tau": decision.tau,
        "pretrained_weights": _pretrained(run, model.name),
        "weights_sha256": hashlib.sha256((run.path / WEIGHTS).read_bytes()).hexdigest(),
        "quantised": "no",
    }


def _counts(run: RunFolder, n_classes: int) -> list[int] | None:
    try:
        rows = parquet.read_table(run.manifest, columns=["label", "split"])
    except (OSError, ValueError):
        return None
    labels = rows["label"].to_numpy()[rows["split"].to_numpy() == SPLITS.index("train")]
    counts: list[int] = np.bincount(labels, minlength=n_classes).tolist()
    return counts


def _pretrained(run: RunFolder, name: str) -> dict[str, str] | str:
    """Source and licence of the weights that training began with."""
    try:
        recipe = Recipe.from_yaml(run.recipe.read_text(encoding="utf-8"), where=run.recipe.name)
    except (OSError, InputError):
        return "not known: the run's recipe cannot be read"
    decisions = {one.name: one for one in recipe.decisions}
    file = decisions["weights_file"]
    if file.value is not None:
        local = find_weights(name)
        if local is not None and local.path == file.value:
            return {"source": local.source, "licence": local.licence}
        # The recipe's reason names the licence, where the file came with one.
        named = file.reason if "licence" in file.reason else "not stated"
        return {"source": Path(str(file.value)).name, "licence": named}
    if not decisions["pretrained"].value:
        return f"what {name} gives" if is_function(name) else "none: trained from scratch"
    if is_reference(name):
        return {"source": name, "licence": "not stated"}
    published = timm.get_pretrained_cfg(name)
    return {
        "source": str(getattr(published, "hf_hub_id", None) or f"timm's {name}"),
        "licence": str(getattr(published, "license", None) or "not stated"),
    }
