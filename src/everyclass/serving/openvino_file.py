"""OpenVINO's intermediate representation: an .xml with the graph and a .bin with the weights.

Needs the extra `openvino`. Weights stay in float32: half precision would be another model than the
one that was judged.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram

from everyclass.errors import EveryclassError
from everyclass.models.graph import INPUT, OUTPUTS
from everyclass.serving.artifact import Answers, Artifact, Images

ENDING = ".xml"
PACKAGES = ("openvino",)


def to_openvino(program: ExportedProgram, metadata: dict[str, Any]) -> Artifact:
    """The graph as OpenVINO has it; what answers is loaded from the same bytes.

    Raises:
        EveryclassError: an operation that OpenVINO lacks.
    """
    import openvino

    try:
        model = openvino.convert_model(program)
    except Exception as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EveryclassError(f"OpenVINO cannot take this graph: {line}") from error
    model.inputs[0].get_tensor().set_names({INPUT})
    for output, name in zip(model.outputs, OUTPUTS):
        output.get_tensor().set_names({name})
    model.reshape({INPUT: openvino.PartialShape([-1, 3, -1, -1])})
    for key, value in metadata.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        model.set_rt_info(text, ["everyclass", key])
    graph, weights = _saved(model)
    # On processors that have it, OpenVINO computes in bfloat16 unless told otherwise.
    precise = {"INFERENCE_PRECISION_HINT": "f32"}
    core = openvino.Core()
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
