"""Images classified by the machines of a Ray cluster: actors that hold the model.

Comes in: a run and images. Goes out: `Classified` in the order of the images, in the portions in
which this machine would classify them by itself: a convolution rounds differently in batches of
another size, so with other portions the last digits would differ. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from everyclass.models.file import load_model
from everyclass.models.folding import folded
from everyclass.settings import Device, Precision
from everyclass.workflows.classify import (
    Classified,
    classify_files,
    classify_portion,
    portion_size,
)
from everyclass.workflows.cluster import Cluster, on_disk, refuse_blind_nodes
from everyclass.workflows.cluster_audit import tables_of
from everyclass.workflows.cluster_blocks import ROW, answered, block_rows
from everyclass.workflows.cores import usable_cores
from everyclass.workflows.inference import (
    EVALUATION_BATCH,
    answering_precision,
    computes_in_half,
    make_fabric,
)
from everyclass.workflows.machine import find_machine

BLOCK = 512
"""Images that an actor is given at once, at most."""

_LOOKED_AT = 8


def classify_on(
    cluster: Cluster, run: str, images: Sequence[str], *, threads: int, precision: Precision
) -> Iterator[Classified]:
    """Classify images in order: on graphics cards where the cluster has any, an actor each, else
    on processor cores.

    Args:
        run: folder of a finished run.
        images: paths or URIs.
        threads: by which this machine would classify them.
        precision: in which its processor would; graphics cards take that of the run.
    Raises:
        InputError: a machine that does not see the run or the images, or a model that it cannot
            load.
    """
    places = np.unique(np.linspace(0, max(0, len(images) - 1), _LOOKED_AT).astype(int))
    some = [images[place] for place in places] if len(images) else []
    refuse_blind_nodes(cluster, [run, *on_disk(some)])
    on_cards = cluster.gpus > 0
    portion = EVALUATION_BATCH if on_cards else portion_size(len(images), threads)
    rows = block_rows(len(images), cluster, unit=portion, most=BLOCK)
    blocks = tables_of(enumerate(images), rows)
    for found in answered(
        cluster,
        blocks,
        Classifying,
        {
            "run": run,
            "portion": portion,
            "device": "cuda" if on_cards else "cpu",
            "precision": None if on_cards else precision,
        },
        block_rows=rows,
        stateful=True,
        gpus=1 if on_cards else 0,
    ):
        yield from _portions(found, portion)


def _portions(found: pa.Table, portion: int) -> Iterator[Classified]:
    """The images of each portion, those that could be read and the others."""
    rows = found[ROW].to_numpy()
    of_portion = rows // portion
    read = found["reason"].is_null().to_numpy()
    for one in np.unique(of_portion):
        own = of_portion == one
        mine = found.filter(pa.array(own & read))
        failed = found.filter(pa.array(own & ~read))
        logits = [np.frombuffer(each, dtype=np.float32) for each in mine["logits"].to_pylist()]
        yield Classified(
            rows=mine[ROW].to_numpy(),
            logits=np.stack(logits) if logits else np.zeros((0, 0), dtype=np.float32),
            short_sides=mine["short_side"].to_numpy(),
            greys=mine["grey"].to_numpy(),
            failed=tuple(zip(failed[ROW].to_pylist(), failed["reason"].to_pylist())),
        )


# -- in the processes of the cluster ---------------------------------------------------------------


class Classifying:
    """A model in the memory of one process."""

    def __init__(
        self, *, run: str, portion: int, device: Device, precision: Precision | None
    ) -> None:
        self._portion, self._device = portion, device
        model = load_model(Path(run))
        own = answering_precision(model.precision, find_machine(device))
        self._fabric = make_fabric(device=device, precision=precision or own)
        loaded = model.classifier.to(self._fabric.device)
        half = computes_in_half(self._fabric)
        self._classifier = folded(loaded, half=half) if device == "cpu" else loaded

    def __call__(self, block: pa.Table) -> pa.Table:
        """Rows of the images of a block, with logits or a reason why there are none."""
        first, images = block[ROW][0].as_py(), block["image"].to_pylist()
        return _joined([_shifted(one, first) for one in self._classified(images)])

    def _classified(self, images: list[str]) -> Iterator[Classified]:
        if self._device != "cpu":
            yield from classify_files(
                self._classifier, images, threads=usable_cores(), fabric=self._fabric
            )
            return
        torch.set_num_threads(1)  # as each thread of a machine that works by itself
        for start in range(0, len(images), self._portion):
            part = images[start : start + self._portion]
            yield classify_portion(self._classifier, part, start=start, fabric=self._fabric)


def _shifted(found: Classified, first: int) -> Classified:
    return Classified(
        rows=found.rows + first,
        logits=found.logits,
        short_sides=found.short_sides,
        greys=found.greys,
        failed=tuple((row + first, reason) for row, reason in found.failed),
    )


def _joined(parts: list[Classified]) -> pa.Table:
    failed = [pair for one in parts for pair in one.failed]
    rows = [int(row) for one in parts for row in one.rows]
    none = [None] * len(failed)
    return pa.table(
        {
            ROW: pa.array(rows + [row for row, _ in failed], pa.int64()),
            "logits": pa.array(
                [each.tobytes() for one in parts for each in one.logits] + none, pa.binary()
            ),
            "short_side": pa.array(
                [int(side) for one in parts for side in one.short_sides] + none, pa.int64()
            ),
            "grey": pa.array(
                [float(grey) for one in parts for grey in one.greys] + none, pa.float64()
            ),
            "reason": pa.array([None] * len(rows) + [reason for _, reason in failed], pa.string()),
        }
    )
