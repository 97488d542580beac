"""OpenVINO's intermediate representation: an .xml with the graph and a .bin with the weights.

Needs the extra `openvino`. The graph comes by way of ONNX: PyTorch's exporter computes there what
depends on nothing, as resized position embeddings, for which OpenVINO's own reading of PyTorch's
graph lacks operations. Weights stay in float32: half precision would be another model than the one
that was judged.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram

from everyclass.errors import EveryclassError
from everyclass.models.graph import OUTPUTS
from everyclass.serving.artifact import Answers, Artifact, Images
from everyclass.serving.onnx_file import converted

ENDING = ".xml"
PACKAGES = ("openvino", "onnx", "onnxscript")


def to_openvino(program: ExportedProgram, metadata: dict[str, Any]) -> Artifact:
    """The graph as OpenVINO has it; what answers is loaded from the same bytes.

    Raises:
        InputError: a network too large for one file of ONNX.
        EveryclassError: an operation that ONNX or OpenVINO lacks.
    """
    import openvino

    core = openvino.Core()
    content = converted(program).SerializeToString()
    try:
        model = core.read_model(model=content)
    except Exception as error:
        line = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise EveryclassError(f"OpenVINO cannot take this graph: {line}") from error
    for key, value in metadata.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        model.set_rt_info(text, ["everyclass", key])
    graph, weights = _saved(model)
    # On processors that have it, OpenVINO computes in bfloat16 unless told otherwise.
    precise = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(model=graph, weights=weights), "CPU", precise)

    def answer(images: Images) -> Answers:
        found = compiled(images)
        return Answers(
            probabilities=found[OUTPUTS[0]].copy(), balanced_scores=found[OUTPUTS[1]].copy()
        )

    return Artifact(
        files=((ENDING, graph), (".bin", weights)),
        answer=answer,
        words=f"run by OpenVINO {openvino.__version__.partition('-')[0]} in float32",
    )


def _saved(model: Any) -> tuple[bytes, bytes]:
    import openvino

    with tempfile.TemporaryDirectory(prefix="everyclass-export-") as folder:
        path = Path(folder) / f"model{ENDING}"
        openvino.save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
