"""Logits of many images in memory, a batch at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from everyclass.decide import Machine
from everyclass.settings import Precision
from everyclass.training.batches import ReadImages, Rows, to_images
from everyclass.training.fabric import Fabric, LightningEnvironment, Strategy

EVALUATION_BATCH = 256


def make_fabric(
    *,
    device: str,
    precision: str,
    strategy: Strategy | None = None,
    devices: int = 1,
    nodes: int = 1,
) -> Fabric:
    """Fabric for one device, or for the devices of a strategy that joins processes.

    Args:
        device: cpu, cuda or mps.
        precision: fp32, bf16 or fp16.
        strategy: None for one device, whatever launched this process.
        devices: on this machine.
        nodes: machines.
    """
    names = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
    # Lightning logs its precision plugin each time; the recipe tells the precision, with reasons.
    log = logging.getLogger("lightning_fabric.utilities.rank_zero")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        return Fabric(
            accelerator=device,
            strategy=strategy or "auto",
            devices=devices,
            num_nodes=nodes,
            precision=names[precision],
            # Else it takes this process for one of several wherever torchrun or SLURM is around.
            plugins=[] if strategy is not None else [LightningEnvironment()],
        )
    finally:
        log.setLevel(level)


def answering_precision(trained: Precision, machine: Machine) -> Precision:
    """In which a finished run answers here: that in which it was trained, chosen and calibrated,
    where this device computes so natively; else fp32, whose answers differ by rounding alone."""
    if trained == "bf16" and machine.bf16:
        return "bf16"
    return "fp16" if trained == "fp16" and machine.device == "cuda" else "fp32"


def computes_in_half(fabric: Fabric) -> bool:
    """Whether convolutions run in bfloat16."""
    return bool(fabric.strategy.precision.precision == "bf16-mixed")


def logits_of(
    model: nn.Module, read: ReadImages, rows: Rows, *, fabric: Fabric
) -> npt.NDArray[np.float32]:
    """(len(rows), C) float32 logits, in evaluation mode; the model's mode is put back."""
    parts = list(logit_batches(model, (read(part) for part in batches_of(rows)), fabric=fabric))
    return np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.float32)


def batches_of(rows: Rows) -> Iterator[Rows]:
    """Consecutive rows in batches of `EVALUATION_BATCH`."""
    for start in range(0, len(rows), EVALUATION_BATCH):
        yield rows[start : start + EVALUATION_BATCH]


def logit_batches(
    model: nn.Module, pixels: Iterator[npt.NDArray[np.uint8]], *, fabric: Fabric
) -> Iterator[npt.NDArray[np.float32]]:
    """Logits of each (B, S, S, 3) uint8 batch."""
    training = model.training
    model.eval()
    try:
        for batch in pixels:
            with torch.inference_mode(), fabric.autocast():
                logits = model(fabric.to_device(to_images(batch)))
            yield logits.float().cpu().numpy()
    finally:
        model.train(training)
