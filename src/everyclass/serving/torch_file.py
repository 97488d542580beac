"""PyTorch's own exported program (.pt2), with its metadata inside and as JSON beside it.

`torch.export.load(path).module()` runs it; everyclass need not be installed.
"""

from __future__ import annotations

import io
import json
from typing import Any

import torch
from torch.export import ExportedProgram

from everyclass.models.graph import BALANCED_SCORES, PROBABILITIES
from everyclass.serving.artifact import Answers, Artifact, Images

ENDING = ".pt2"
METADATA = "everyclass.json"
"""Name of the metadata inside, as `torch.export.load` takes it in `extra_files`."""


def to_torch(program: ExportedProgram, metadata: dict[str, Any]) -> Artifact:
    """The program as bytes; what answers is loaded from them."""
    text = json.dumps(metadata, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={METADATA: text})
    content = buffer.getvalue()
    loaded = torch.export.load(io.BytesIO(content)).module()

    def answer(images: Images) -> Answers:
        with torch.inference_mode():
            found = loaded(torch.from_numpy(images))
        return Answers(
            probabilities=found[PROBABILITIES].numpy(),
            balanced_scores=found[BALANCED_SCORES].numpy(),
        )

    return Artifact(
        files=((ENDING, content), (f"{ENDING}.json", text.encode())),
        answer=answer,
        words=f"torch.export of PyTorch {torch.__version__.partition('+')[0]}",
    )
