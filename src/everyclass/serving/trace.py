"""One trace of a model's graph, from which every format is made.

Comes in: a saved model. Goes out: a `torch.export` program with a free batch, height and width,
without the source lines of whoever exported it.
"""

from __future__ import annotations

import warnings

import torch
from torch.export import Dim, ExportedProgram

from everyclass.errors import EveryclassError
from everyclass.models.file import SavedModel
from everyclass.models.graph import INPUT, DecidedClassifier

_EXAMPLE = (2, 3, 50, 70)
"""Any sizes do, as long as they are unlike each other and above 1: an equal pair, or a 1, would be
taken for a rule."""


def trace(model: SavedModel) -> ExportedProgram:
    """The program of `models.graph.DecidedClassifier`; the model is left without gradients.

    Raises:
        EveryclassError: the network's course depends on values, so that no one graph holds it.
    """
    graph = DecidedClassifier(model).eval()
    # Else answers of the program hold on to gradients, and `.numpy()` refuses them.
    graph.requires_grad_(False)
    sizes = {0: Dim("batch"), 2: Dim("height"), 3: Dim("width")}
    example = torch.zeros(_EXAMPLE, dtype=torch.uint8)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of torch's own changes to come
            program = torch.export.export(graph, (example,), dynamic_shapes={INPUT: sizes})
    except Exception as error:
        # Whatever the tracer trips over, of which it has dozens of kinds.
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EveryclassError(
            f"PyTorch cannot turn '{model.name}' into a graph for export: {line}"
        ) from error
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                # Paths and source lines of this machine, which nobody means to hand out.
                node.meta.pop("stack_trace", None)
    return program
