"""`everyclass export`: a run's model as one file for programs without everyclass.

Comes in: a run, a format. Goes out: files that answered as PyTorch does, or an error and no file.
Everything is made and checked in memory; the disk sees only what has passed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from everyclass.errors import EveryclassError, InputError
from everyclass.models.file import SavedModel, load_model
from everyclass.run_folder import RunFolder, write_atomically
from everyclass.serving import onnx_file, openvino_file, torch_file
from everyclass.serving.artifact import Artifact, need_packages
from everyclass.serving.cost import (
    QuantisationCost,
    class_costs,
    first_batch,
    refuse_unlabelled,
    timed_rates,
)
from everyclass.serving.metadata import metadata_of
from everyclass.serving.parity import (
    Answered,
    Parity,
    answered_by_artifact,
    answered_by_model,
    compared,
)
from everyclass.serving.real_images import RealImages, RunImages, given_images
from everyclass.serving.trace import trace

Format = Literal["onnx", "torch", "openvino"]
Quantisation = Literal["int8"]

_ENDINGS: dict[Format, tuple[str, ...]] = {
    "onnx": (onnx_file.ENDING,),
    "torch": (torch_file.ENDING, f"{torch_file.ENDING}.json"),
    "openvino": (openvino_file.ENDING, ".bin"),
}
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written.

    Args:
        files: the first is the one to name when loading.
        n_bytes: of all of them.
        words: which library answered in the check.
        parity: with PyTorch, of the graph in float32.
        cost: of eight bits, where they were asked for.
    """

    files: tuple[Path, ...]
    n_bytes: int
    format: Format
    words: str
    metadata: dict[str, Any]
    parity: Parity
    cost: QuantisationCost | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "files": [str(path) for path in self.files],
            "bytes": self.n_bytes,
            "format": self.format,
            "metadata": self.metadata,
            "parity": self.parity.to_dict(),
            **({} if self.cost is None else {"quantisation": self.cost.to_dict()}),
        }


def export(
    run_path: Path,
    out: Path | None = None,
    *,
    format: Format = "onnx",
    quantise: Quantisation | None = None,
    images: str | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> Exported:
    """Write a run's model in another format, once it has answered as PyTorch does.

    Args:
        out: the file; `model` with the format's ending in the run when left out.
        quantise: int8 writes the quantised model alone; the one in float32 is checked first.
        images: folder or manifest to compare answers on; the run's test images (else validation
            images) when left out. For `quantise` they need labels.
        overwrite: replace files that are there.
        on_progress: told (what is being done, images done, images in all).
    Raises:
        InputError: no finished run, a file that exists or ends otherwise, an extra that is not
            installed, images that are gone.
        EveryclassError: a network that cannot be exported, or answers that differ.
    """
    run = RunFolder.open(run_path)
    if quantise is not None and format != "onnx":
        raise InputError(
            f"--quantise {quantise} is for --format onnx, not {format}.",
            remedy="Leave one of the two away.",
        )
    needed = {"onnx": onnx_file.PACKAGES, "openvino": openvino_file.PACKAGES, "torch": ()}[format]
    extra = "openvino" if format == "openvino" else "export"
    need_packages(needed, extra=extra, what=f"--format {format}")
    paths = _paths(run, out, format, quantise)
    if not overwrite:
        _refuse_existing(paths)
    model = load_model(run.path)
    judged = _images(run, images, model)
    calibrating = None
    if quantise is not None:
        refuse_unlabelled(judged)
        calibrating = RunImages.of(run, images).calibrating()
    metadata = metadata_of(run, model)

    program = trace(model)
    make = {
        "onnx": onnx_file.to_onnx,
        "torch": torch_file.to_torch,
        "openvino": openvino_file.to_openvino,
    }[format]
    artifact = make(program, metadata)
    wanted = answered_by_model(
        model, judged, on_progress=lambda done, of: on_progress("PyTorch answers", done, of)
    )
    found = answered_by_artifact(
        artifact, judged, on_progress=lambda done, of: on_progress("the export answers", done, of)
    )
    parity = compared(wanted, found, judged)
    if not parity.holds:
        raise EveryclassError(
            f"The exported graph does not answer as PyTorch does, so nothing was written. "
            f"{parity.sentence}"
        )
    cost = None
    if calibrating is not None:
        whole = artifact
        artifact, metadata = _in_eight_bits(whole, metadata, calibrating, on_progress)
        cost = _cost(whole, artifact, found, judged, calibrating, model, on_progress)
    _write(artifact, paths)
    return Exported(
        files=paths,
        n_bytes=artifact.n_bytes,
        format=format,
        words=artifact.words,
        metadata=metadata,
        parity=parity,
        cost=cost,
    )


def _paths(
    run: RunFolder, out: Path | None, format: Format, quantise: Quantisation | None
) -> tuple[Path, ...]:
    ending, *others = _ENDINGS[format]
    if out is None:
        out = run.path / f"model{'' if quantise is None else f'.{quantise}'}{ending}"
    if out.suffix.lower() != ending:
        raise InputError(
            f"{out} ends in {out.suffix or 'nothing'}; --format {format} writes {ending}.",
            remedy=f"Let --out end in {ending}.",
        )
    if out.is_dir():
        raise InputError(f"{out} is a folder.", remedy="Name a file with --out.")
    stem = out.name[: -len(ending)]
    return (out, *(out.with_name(f"{stem}{other}") for other in others))


def _refuse_existing(paths: tuple[Path, ...]) -> None:
    for path in paths:
        if path.exists():
            raise InputError(
                f"{path} exists already.", remedy="Choose another --out, or add --overwrite."
            )


def _images(run: RunFolder, images: str | None, model: SavedModel) -> RealImages:
    if images is None:
        return RunImages.of(run, None).judged()
    return given_images(images, model.classes)


def _in_eight_bits(
    whole: Artifact, metadata: dict[str, Any], images: RealImages, on_progress: OnProgress
) -> tuple[Artifact, dict[str, Any]]:
    import onnx

    from everyclass.serving.quantise import quantised

    told = {
        **metadata,
        "quantised": f"int8: weights and activations of the network, ranges from {images.words}",
    }
    model = quantised(
        onnx.load_from_string(whole.files[0][1]),
        images,
        on_progress=lambda done, of: on_progress("calibrating", done, of),
    )
    return onnx_file.artifact_of(onnx_file.with_metadata(model, told)), told


def _cost(
    whole: Artifact,
    small: Artifact,
    before: Answered,
    judged: RealImages,
    calibrating: RealImages,
    model: SavedModel,
    on_progress: OnProgress,
) -> QuantisationCost:
    after = answered_by_artifact(
        small, judged, on_progress=lambda done, of: on_progress("int8 answers", done, of)
    )
    beside = compared(before, after, judged)
    batch = first_batch(judged)
    rate_before, rate_after = timed_rates(whole, small, batch)
    return QuantisationCost(
        images=judged.words,
        calibrated_on=calibrating.words,
        classes=class_costs(before, after, judged, model.classes),
        n=beside.n,
        agree=beside.balanced_agree,
        largest_difference=beside.largest_difference,
        bytes_before=whole.n_bytes,
        bytes_after=small.n_bytes,
        rate_before=rate_before,
        rate_after=rate_after,
        timed=batch.shape,
    )


def _write(artifact: Artifact, paths: tuple[Path, ...]) -> None:
    """The named file last, so that it never stands without what belongs to it."""
    written = list[Path]()
    try:
        for path, (_, content) in reversed(list(zip(paths, artifact.files))):
            write_atomically(path, content)
            written.append(path)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise InputError(
            f"{paths[0]} cannot be written: {error.strerror}.", remedy="Choose another --out."
        ) from error
