"""ONNX: the graph as one file, with its metadata inside, run by ONNX Runtime.

Needs the extra `export`. Comes in: a traced program. Goes out: an artifact, or bytes for one.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch.export import ExportedProgram

from everyclass.errors import EveryclassError, InputError
from everyclass.models.graph import INPUT, OUTPUTS
from everyclass.serving.artifact import Answers, Artifact, Images

if TYPE_CHECKING:
    import onnx
    import onnxruntime

ENDING = ".onnx"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSET = 18
"""The one that PyTorch's exporter is written for; ONNX Runtime 1.14 and later run it."""

MOST_BYTES = 1_900_000_000
"""Of parameters: a protocol buffer holds 2 GiB."""

_AXES = ("batch", "", "height", "width")


def to_onnx(program: ExportedProgram, metadata: dict[str, Any]) -> Artifact:
    """The graph in ONNX with its metadata; raises as `converted`."""
    return artifact_of(with_metadata(converted(program), metadata))


def artifact_of(model: onnx.ModelProto) -> Artifact:
    """A checked model, as bytes and as what ONNX Runtime answers with."""
    import onnx
    import onnxruntime

    onnx.checker.check_model(model)
    content = model.SerializeToString()
    session = session_of(content)

    def answer(images: Images) -> Answers:
        probabilities, scores = session.run(list(OUTPUTS), {INPUT: images})
        return Answers(probabilities=probabilities, balanced_scores=scores)

    return Artifact(
        files=((ENDING, content),),
        answer=answer,
        words=f"opset {OPSET}, run by ONNX Runtime {onnxruntime.__version__}",
    )


def session_of(content: bytes, *, threads: int = 0) -> onnxruntime.InferenceSession:
    """ONNX Runtime on the processor; 0 threads are as many as it has cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def with_metadata(model: onnx.ModelProto, metadata: dict[str, Any]) -> onnx.ModelProto:
    """The same model with these `metadata_props`: strings as they are, other values as JSON."""
    import onnx

    texts = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in metadata.items()
    }
    onnx.helper.set_model_props(model, texts)
    return model


def converted(program: ExportedProgram) -> onnx.ModelProto:
    """The bare graph in ONNX.

    Raises:
        InputError: a network too large for one file.
        EveryclassError: an operation that ONNX lacks.
    """
    n_bytes = sum(one.numel() * one.element_size() for one in program.state_dict.values())
    if n_bytes > MOST_BYTES:
        raise InputError(
            f"The network has {n_bytes / 1e9:.1f} GB of parameters; one ONNX file holds 2 GB.",
            remedy="Use --format torch.",
        )
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            found = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                verbose=False,
            )
    except Exception as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EveryclassError(f"PyTorch cannot write this graph as ONNX: {line}") from error
    finally:
        log.setLevel(level)
    assert found is not None
    return _plain(found.model_proto)


def _plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """With named axes, and without what the exporter notes of Python's classes and files."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for graph_part in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del graph_part.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]  # shapes of what lies between, in the exporter's own symbols
    del model.functions[:]  # all of them inlined
    for one in (*model.graph.input, *model.graph.output):
        for axis, name in zip(one.type.tensor_type.shape.dim, _AXES):
            if axis.dim_param:
                axis.dim_param = name
    return model
