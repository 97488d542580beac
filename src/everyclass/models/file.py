"""The model on disk: `model.safetensors` and one JSON contract, `model.json`.

Comes in and goes out: a `Classifier` with what is needed to use it honestly: classes in order,
preprocessing, decision (priors, temperature, post-hoc adjustment), versions. Loading runs no
pickle and downloads nothing. Where the network was made by a user's function the contract holds the
reference to it, and loading runs that function (and imports its module): nothing else of a run is
ever executed.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import safetensors.torch
import torch
from safetensors import SafetensorError

from everyclass.errors import InputError
from everyclass.models.backbones import build_backbone
from everyclass.models.classifier import Classifier, Preprocessing
from everyclass.models.decision import Decision
from everyclass.run_folder import write_atomically
from everyclass.settings import Precision, is_function

FORMAT = 1
WEIGHTS = "model.safetensors"
CONTRACT = "model.json"

ANSWERS_MAY_DIFFER = 0.01
"""Of the largest logit: what other machines and devices compute otherwise, with much to spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedModel:
    """A classifier and its contract.

    Args:
        classifier: uint8 (B, 3, H, W) -> (B, C) logits.
        name: the network's name, as `build_backbone` takes it.
        classes: names in the order of the outputs.
        decision: how logits become probabilities and classes.
        small_stem, cosine_head: as in `Backbone`.
        precision: in which it was trained, chosen and calibrated.
    """

    classifier: Classifier
    name: str
    small_stem: bool
    classes: tuple[str, ...]
    decision: Decision
    cosine_head: bool = False
    precision: Precision = "fp32"


def save_model(folder: Path, model: SavedModel) -> None:
    """Write both files, each atomically; the contract last, so it never names absent weights."""
    tensors = {
        # Copies: tensors that share memory (tied weights) would be refused.
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in model.classifier.state_dict().items()
    }
    write_atomically(folder / WEIGHTS, safetensors.torch.save(tensors))
    contract = {
        "format": FORMAT,
        "model": model.name,
        "small_stem": model.small_stem,
        **({"cosine_head": True} if model.cosine_head else {}),
        **({"answers": _answers(model.classifier)} if is_function(model.name) else {}),
        "precision": model.precision,
        "classes": list(model.classes),
        "input": "uint8 RGB, (B, 3, H, W), any size; resizing and normalisation are inside",
        "preprocessing": model.classifier.preprocessing.to_dict(),
        "decision": model.decision.to_dict(),
        "versions": {name: version(name) for name in ("everyclass", "torch", "timm")},
    }
    text = json.dumps(contract, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(folder / CONTRACT, text.encode())


def load_model(folder: Path) -> SavedModel:
    """The model in `folder`, in evaluation mode, on the CPU.

    Raises:
        InputError: files missing or damaged, a newer format, weights that do not fit the contract;
            the user's function that made the network is not there, or gives another one.
    """
    contract = _read_contract(folder / CONTRACT)
    try:
        classes = tuple(str(name) for name in contract["classes"])
        preprocessing = Preprocessing.from_dict(contract["preprocessing"])
        decision = Decision.from_dict(contract["decision"])
        name, small_stem = str(contract["model"]), bool(contract["small_stem"])
        cosine_head = bool(contract.get("cosine_head", False))
        precision = _precision(contract.get("precision", "fp32"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The model's contract is incomplete ({error!r}).",
            where=str(folder / CONTRACT),
            remedy="Restore the file, or train again.",
        ) from error
    try:
        backbone = build_backbone(
            name,
            side=preprocessing.side,
            n_classes=len(classes),
            seed=0,
            small_stem=small_stem,
            cosine_head=cosine_head,
        )
    except InputError as error:
        if not is_function(name):
            raise
        raise InputError(error.what, where=str(folder / CONTRACT), remedy=error.remedy) from error
    classifier = Classifier(backbone.network, preprocessing)
    _load_weights(classifier, folder / WEIGHTS)
    if is_function(name):
        _refuse_other_answers(classifier.eval(), contract.get("answers"), name, folder / CONTRACT)
    return SavedModel(
        classifier=classifier.eval(),
        name=name,
        small_stem=small_stem,
        classes=classes,
        decision=decision,
        cosine_head=cosine_head,
        precision=precision,
    )


def _precision(name: Any) -> Precision:
    if name not in get_args(Precision):
        raise ValueError(f"precision {name!r}")
    found: Precision = name
    return found


def _answers(classifier: Classifier) -> list[list[float]]:
    """Logits of two images of noise: what the function of a user is to give again at loading."""
    side = classifier.preprocessing.side
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=generator)
    training = classifier.training
    with torch.no_grad():
        logits = classifier.eval()(images.to(classifier.mean.device))
    classifier.train(training)
    answers: list[list[float]] = logits.cpu().tolist()
    return answers


def _refuse_other_answers(classifier: Classifier, wanted: Any, name: str, path: Path) -> None:
    """Weights fit a function that was edited since as well, as long as it has the same layers."""
    if wanted is None:
        return
    told, found = torch.tensor(wanted), torch.tensor(_answers(classifier))
    difference = float((told - found).abs().max()) if told.shape == found.shape else math.inf
    largest = float(told.abs().max())
    if not difference <= ANSWERS_MAY_DIFFER * max(1.0, largest):
        raise InputError(
            f"{name} gives another network than the one that was trained: with the same weights "
            f"its logits of two images of noise differ by {difference:.3g} (the largest was "
            f"{largest:.3g}).",
            where=str(path),
            remedy="Put the code back as it was at the training, or train again.",
        )


def _read_contract(path: Path) -> dict[str, Any]:
    try:
        contract = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path.parent} holds no finished model ({path.name} is missing).",
            remedy="Finish the training (--resume), or name another run.",
        ) from None
    except ValueError as error:
        raise InputError(
            f"{path} is not valid JSON ({error}).", remedy="Restore the file, or train again."
        ) from error
    if not isinstance(contract, dict) or contract.get("format") != FORMAT:
        found = contract.get("format") if isinstance(contract, dict) else None
        raise InputError(
            f"{path} has format {found!r}; this version reads format {FORMAT}.",
            remedy="Use the everyclass version that wrote it, or train again.",
        )
    return contract


def _load_weights(classifier: Classifier, path: Path) -> None:
    try:
        tensors: dict[str, torch.Tensor] = safetensors.torch.load(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} is missing.", remedy="Restore it, or train again.") from None
    except SafetensorError as error:
        raise InputError(
            f"{path} is damaged ({error}).", remedy="Restore it, or train again."
        ) from error
    try:
        classifier.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        first_line = str(error).strip().splitlines()[-1].strip()
        raise InputError(
            f"{path} does not fit {path.with_name(CONTRACT).name}: {first_line}",
            remedy="Both files must come from the same run.",
        ) from error
