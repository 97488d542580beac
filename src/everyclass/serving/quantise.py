"""Eight bits for the network's products, and only for them: ONNX Runtime's static quantisation.

Comes in: a model in ONNX, training images. Goes out: the same graph with quantised convolutions and
matrix products. Resizing, normalisation, temperature and softmax stay in floats: in eight bits the
probabilities would be steps, and grey levels would be lost before the network sees them.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from everyclass.errors import EveryclassError
from everyclass.models.graph import INPUT
from everyclass.serving.onnx_file import ENDING
from everyclass.serving.real_images import RealImages, raw_batches

if TYPE_CHECKING:
    import onnx

_PRODUCTS = ("Conv", "Gemm", "MatMul")


def quantised(
    model: onnx.ModelProto, images: RealImages, *, on_progress: Callable[[int, int], None]
) -> onnx.ModelProto:
    """The model with weights and activations of the network in eight bits.

    Weights take one scale an output channel and seven of their eight bits: with all eight, sums
    overflow on processors without VNNI, and what is measured here would not hold there.

    Args:
        images: that the ranges of activations are measured on.
    Raises:
        EveryclassError: ONNX Runtime cannot quantise this graph.
    """
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = _batches(images, on_progress)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._batches, None)

    nodes = network_nodes(model)
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)  # it advises on the root logger to prepare the model otherwise
    try:
        with (
            tempfile.TemporaryDirectory(prefix="everyclass-export-") as folder,
            contextlib.redirect_stdout(io.StringIO()),
        ):
            path = Path(folder) / f"model{ENDING}"
            quantization.quantize_static(
                model,
                str(path),
                Reader(),
                nodes_to_quantize=nodes,
                per_channel=True,
                reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
            )
            return onnx.load(path)
    except Exception as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EveryclassError(f"ONNX Runtime cannot quantise this graph: {line}") from error
    finally:
        log.setLevel(level)


def network_nodes(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes between the first and the last product with parameters of the network.

    Resizing has products too, with matrices that are computed from the size of the image.
    """
    constants = {one.name for one in model.graph.initializer}
    nodes = list(model.graph.node)
    parametric = [
        node.op_type in _PRODUCTS and any(name in constants for name in node.input[:2])
        for node in nodes
    ]
    after, before = set[str](), set[str]()
    downstream, upstream = set[str](), set[str]()
    for node, own in zip(nodes, parametric):  # the order of a graph is one of execution
        if own or downstream.intersection(node.input):
            downstream.update(node.output)
            after.add(node.name)
    for node, own in zip(reversed(nodes), reversed(parametric)):
        if own or upstream.intersection(node.output):
            upstream.update(node.input)
            before.add(node.name)
    return [node.name for node in nodes if node.name in after and node.name in before]


def _batches(
    images: RealImages, on_progress: Callable[[int, int], None]
) -> Iterator[dict[str, Any]]:
    for rows, batch in raw_batches(images.paths):
        yield {INPUT: batch}
        on_progress(int(rows[-1]) + 1, len(images.paths))
