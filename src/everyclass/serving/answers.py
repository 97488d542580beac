"""A run as something that answers: bytes to pixels, pixels to what a client is told.

Comes in: a finished run, a prior, a coverage. Goes out: answers with the columns of `everyclass
predict`, made by the same code, and each class's record from the run's evaluation. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from everyclass.contracts import ClassEvaluation, Evaluation
from everyclass.errors import InputError
from everyclass.images.damage import UnreadableImage
from everyclass.images.pixels import decode_resized, stated_size
from everyclass.models.classifier import Classifier
from everyclass.models.file import SavedModel, load_model
from everyclass.models.folding import folded
from everyclass.run_folder import RunFolder
from everyclass.serving.limits import Limits, Refusal
from everyclass.stats.conformal import ConformalThresholds, check_coverage
from everyclass.training.batches import to_images
from everyclass.training.fabric import Fabric
from everyclass.workflows.inference import answering_precision, computes_in_half, make_fabric
from everyclass.workflows.machine import find_machine
from everyclass.workflows.predict import check_prior
from everyclass.workflows.prediction_file import predicted_rows, prediction_schema
from everyclass.workflows.prediction_sets import read_thresholds

Pixels = npt.NDArray[np.uint8]
_MOST_SCANS = 100
"""Of a JPEG. Progressive ones have about ten; each costs a pass over the whole image however few
bytes it has, so that a file of 10 MB could keep a core busy for an hour."""

_START_OF_SCAN = b"\xff\xda"
_DEFLATED_DICOM = b"1.2.840.10008.1.2.1.99"
"""Its header has to be unpacked as a whole, to whatever size, before it says how large it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model that is being served, and what is known of it.

    Args:
        classifier: for answering, on `device`.
        prior: (C,) deployment frequencies that probabilities assume; None for those of training.
        thresholds: of prediction sets; None where the run has no scores for them.
        evaluation: the run's record.
        fabric: of the device, in the precision of the answers.
        threads: that decode, and on a processor classify.
    """

    model: SavedModel
    classifier: Classifier
    prior: tuple[float, ...] | None
    thresholds: ConformalThresholds | None
    evaluation: Evaluation
    fabric: Fabric
    threads: int

    @property
    def classes(self) -> tuple[str, ...]:
        """In the model's order."""
        return self.model.classes

    @property
    def assumed_prior(self) -> tuple[float, ...]:
        """(C,) the class frequencies that probabilities assume."""
        return self.model.decision.natural_prior if self.prior is None else self.prior

    @property
    def workers(self) -> int:
        """Forward passes at a time: one a core, or one on an accelerator."""
        return self.threads if self.fabric.device.type == "cpu" else 1

    def answers(self, pixels: Sequence[Pixels]) -> list[dict[str, Any]]:
        """Classify images of the network's size.

        Args:
            pixels: B of (S, S, 3) uint8.
        Returns:
            B JSON-ready objects: the columns of `predict`, `probabilities` by class.
        """
        return self.told(self.logits(np.stack(pixels)))

    def logits(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """(B, C) of (B, S, S, 3) uint8."""
        if self.fabric.device.type == "cpu":
            torch.set_num_threads(1)  # of this worker: `workflows.classify` says why
        with torch.inference_mode(), self.fabric.autocast():
            found = self.classifier(self.fabric.to_device(to_images(pixels)))
        logits: npt.NDArray[np.float32] = found.float().cpu().numpy()
        return logits

    def told(self, logits: npt.NDArray[np.float32]) -> list[dict[str, Any]]:
        """What clients are told of (B, C) logits."""
        schema = prediction_schema(
            self.classes, prior=self.prior is not None, sets=self.thresholds is not None
        )
        rows = predicted_rows(
            [""] * len(logits),
            logits,
            self.model,
            schema=schema,
            prior=self.prior,
            thresholds=self.thresholds,
        )
        return [self._told(row) for row in rows.to_pylist()]

    def _told(self, row: dict[str, Any]) -> dict[str, Any]:
        kept = {
            name: value
            for name, value in row.items()
            if name not in ("image", "reason") and not name.startswith("prob_")
        }
        if self.thresholds is not None:
            kept["coverage"] = self.thresholds.coverage
        given = row[f"prediction_{self.evaluation.decision}"]
        return {
            **kept,
            "probabilities": {name: row[f"prob_{name}"] for name in self.classes},
            "record": self.record(given),
        }

    def record(self, name: str) -> dict[str, Any]:
        """How the class did on the images that the run was evaluated on."""
        found = next(one for one in self.evaluation.classes if one.name == name)
        return {
            "class": name,
            "split": self.evaluation.split,
            "decision": self.evaluation.decision,
            "images": found.n,
            "recall": found.recall,
            "recall_ci95": _ends(found.recall_ci95),
            "precision": found.precision,
            "precision_ci95": _ends(found.precision_ci95),
        }

    @property
    def records(self) -> tuple[ClassEvaluation, ...]:
        """Of every class, in the model's order."""
        return self.evaluation.classes


def open_run(
    run_path: Path, *, prior: Mapping[str, float] | None, coverage: float | None
) -> Served:
    """Load a run for answering.

    Args:
        prior: deployment frequencies by class name; they are scaled to sum to 1.
        coverage: of prediction sets; 0.9 when left out, where the run has scores for them.
    Raises:
        InputError: no finished run, a prior or coverage that does not fit.
    """
    if coverage is not None:
        check_coverage(coverage)
    run = RunFolder.open(run_path)
    model = load_model(run.path)
    evaluation = Evaluation.from_dict(run.read_json(run.evaluation), where=str(run.evaluation))
    if tuple(one.name for one in evaluation.classes) != model.classes:
        raise InputError(
            f"{run.evaluation} is of another model: its classes are not those of model.json.",
            remedy="Both files must come from the same run.",
        )
    machine = find_machine(None)
    precision = answering_precision(model.precision, machine)
    fabric = make_fabric(device=machine.device, precision=precision)
    on_cores = fabric.device.type == "cpu"
    return Served(
        model=model,
        classifier=(
            folded(model.classifier, half=computes_in_half(fabric))
            if on_cores
            else model.classifier.to(fabric.device)
        ),
        prior=None if prior is None else check_prior(prior, model.classes),
        thresholds=read_thresholds(run, model, coverage),
        evaluation=evaluation,
        fabric=fabric,
        threads=machine.threads,
    )


def read_image(content: bytes, *, side: int, limits: Limits) -> Pixels:
    """The pixels that the network is given, by the one definition of a pixel.

    The header is asked for the size first: what states too many pixels is never decoded.

    Returns:
        (side, side, 3) uint8.
    Raises:
        Refusal: too many pixels, or no image, with the reason.
    """
    if content[128:132] == b"DICM" and _DEFLATED_DICOM in content[:4_096]:
        raise Refusal("unreadable", "A deflated DICOM; send it without that compression.")
    try:
        width, height = stated_size(content)
        if width * height > limits.max_pixels:
            raise Refusal(
                "too-large",
                f"An image of {width:,} x {height:,} pixels; at most {limits.max_pixels:,} pixels "
                "are read.",
            )
        if content.startswith(b"\xff\xd8") and content.count(_START_OF_SCAN) > _MOST_SCANS:
            raise Refusal("unreadable", f"A JPEG of more than {_MOST_SCANS} scans.")
        return decode_resized(content, side=side).rgb
    except UnreadableImage as error:
        raise Refusal("unreadable", f"{error.reason[:1].upper()}{error.reason[1:]}.") from None
    except InputError as error:  # a format whose package is not here
        raise Refusal("unreadable", f"This server cannot read it. {error.what}") from None


def _ends(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)
