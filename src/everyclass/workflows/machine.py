"""What this machine offers to a training, and what it was when a run began."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from everyclass.decide import Machine
from everyclass.errors import InputError
from everyclass.settings import Device
from everyclass.workflows.cores import usable_cores
from everyclass.workflows.launched import find_launch

PACKAGES = ("everyclass", "torch", "torchvision", "timm", "pytorch-lightning", "numpy", "pillow")


def find_machine(device: Device | None) -> Machine:
    """The device asked for, or the fastest one: CUDA, then MPS, then the processor.

    Raises:
        InputError: the device asked for is not here.
    """
    present: dict[Device, bool] = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    fastest = next(name for name, here in present.items() if here)
    if device is not None and not present[device]:
        raise InputError(
            f"PyTorch finds no {device} device on this machine.",
            remedy=f"Use --device {fastest}.",
        )
    chosen: Device = device if device is not None else fastest
    return Machine(
        device=chosen,
        threads=usable_cores(),
        bf16=_computes_in_bf16(chosen),
    )


def _computes_in_bf16(device: Device) -> bool:
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without these instructions bfloat16 is emulated: several times slower than float32.
    return device == "cpu" and any(
        getattr(torch.cpu, name, lambda: False)()
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


def describe_environment(threads: int) -> dict[str, Any]:
    """Versions and hardware, for `environment.json`."""
    launch = find_launch()
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": threads,
        "processes": launch.size,
        "launch": launch.name or None,
        "packages": {name: version(name) for name in PACKAGES},
        "command": typed_command(),
    }


def typed_command() -> list[str] | None:
    """The words that were typed, where this process is everyclass's command line; None in a
    program or a notebook that uses it."""
    if not sys.argv:
        return None
    program = Path(sys.argv[0])
    ours = program.stem == "everyclass" or (
        program.name == "__main__.py" and program.parent.name == "everyclass"
    )
    return ["everyclass", *sys.argv[1:]] if ours else None
