"""What the machine gives: cores, accelerators, shared memory, room and permission to write.

Comes in: the machine. Goes out: `Item`s. Sets nothing, and writes only where it was told to. torch
is loaded inside: one that cannot be loaded is a finding.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from everyclass.errors import InputError
from everyclass.workflows.cache_folder import cache_folder, image_limit_bytes
from everyclass.workflows.cores import allowed_cores, quota_cores, usable_cores
from everyclass.workflows.doctor_values import Item

if TYPE_CHECKING:
    from torch import Tensor

SHARED_MEMORY = Path("/dev/shm")
BATCH, SIDE, PREFETCHED = 64, 224, 2
"""A usual batch of float images, and how many of them each worker of a DataLoader has ready
(torch's `prefetch_factor`): they wait in shared memory."""

NETWORK = "resnet10t"
"""What `train` takes without an accelerator."""

LEAST_ROOM = 1e9
"""Bytes: a few checkpoints of a usual network."""

TOLERANCE = 1e-2
"""Between a device's convolution and the processor's, of outputs of size one: TF32 rounds products
to a thousandth."""


def processor_item() -> Item:
    """Cores that may be used, and whether bfloat16 is computed in hardware."""
    import torch

    from everyclass.workflows.machine import find_machine

    all_cores, allowed, quota = os.cpu_count() or 1, allowed_cores(), quota_cores()
    bf16 = find_machine("cpu").bf16
    fact = f"{usable_cores()} of {all_cores} cores"
    limits = [f"{allowed} by affinity"] if allowed < all_cores else []
    limits += [] if quota is None else [f"a quota of {quota:g} by the control group"]
    fact += f" ({', '.join(limits)})" if limits else ""
    fact += f", {torch.backends.cpu.get_cpu_capability()}"
    fact += ", computes in bfloat16" if bf16 else ", no units for bfloat16: it trains in float32"
    figures = {
        "cores": all_cores,
        "by_affinity": allowed,
        "by_quota": quota,
        "usable": usable_cores(),
        "bf16": bf16,
    }
    return Item(name="processor", state="ok", fact=fact, figures=figures)


def accelerator_item() -> Item:
    """The accelerators that torch finds, each asked to compute a convolution."""
    import torch

    places = [f"cuda:{k}" for k in range(torch.cuda.device_count())]
    places += ["mps"] if torch.backends.mps.is_available() else []
    told, wrong, figures = [], [], {}
    for place in places:
        known = _described(place)
        figures[place] = known
        told.append(f"{place} {known['name']}" + _memory_words(known))
        reason = _computes_wrongly(place)
        wrong += [f"{place} ({known['name']}) {reason}"] if reason else []
    if wrong:
        return Item(
            name="accelerators",
            state="problem",
            fact="; ".join(wrong),
            remedy="Install the torch that fits this device and its driver (pytorch.org, Get "
            "Started), or train with --device cpu.",
            figures=figures,
        )
    cuda = torch.version.cuda or torch.version.hip
    built = f"torch is built for {cuda}" if cuda else "torch is built without CUDA"
    fact = "; ".join(told) or f"none found: it trains on the processor ({built})"
    return Item(name="accelerators", state="ok", fact=fact, figures=figures)


def networks_item() -> Item:
    """A network as `train` builds them: torchvision and timm must fit this torch."""
    import timm
    import torch

    from everyclass.models.backbones import build_backbone

    network = build_backbone(NETWORK, side=32, n_classes=2, seed=0).network.eval()
    with torch.no_grad():
        shape = tuple(network(torch.zeros(1, 3, 32, 32)).shape)
    if shape != (1, 2):
        raise InputError(f"{NETWORK} answers with the shape {shape}; (1, 2) was expected.")
    millions = sum(one.numel() for one in network.parameters()) / 1e6
    fact = f"{NETWORK} of timm {timm.__version__} answers ({millions:.1f} million parameters)"
    return Item(name="networks", state="ok", fact=fact)


def shared_memory_item(place: Path = SHARED_MEMORY) -> Item:
    """Room for the batches of a DataLoader's workers, in scripts that have some."""
    workers = min(usable_cores(), 8)
    needed = workers * PREFETCHED * BATCH * 3 * SIDE * SIDE * 4
    need = (
        f"a DataLoader with {workers} workers and batches of {BATCH} float images of {SIDE} px "
        f"keeps {_size(needed)} there"
    )
    if not place.is_dir():
        return Item(name="shared memory", state="ok", fact=f"no {place} here, and none needed")
    usage = shutil.disk_usage(place)
    fact = f"{place}: {_size(usage.free)} free of {_size(usage.total)}; {need}"
    figures = {"total_bytes": usage.total, "free_bytes": usage.free, "needed_bytes": needed}
    if not os.access(place, os.W_OK):
        fact = f"{place} cannot be written; {need}"
    elif usage.free >= needed:
        return Item(name="shared memory", state="ok", fact=fact, figures=figures)
    remedy = "Give a container more (docker run --shm-size=2g), or use fewer workers. everyclass "
    remedy += "itself trains without workers."
    return Item(name="shared memory", state="note", fact=fact, remedy=remedy, figures=figures)


def cache_item() -> Item:
    """The cache: where, how large, how much room, and whether it may be written."""
    limit = image_limit_bytes()
    folder = cache_folder()
    size, files = _size_of(folder)
    near = _nearest(folder)
    free = shutil.disk_usage(near).free
    figures = {"folder": str(folder), "bytes": size, "files": files, "free_bytes": free}
    fact = f"{folder}: {_size(size)} used (at most {_size(limit)} of images), {_size(free)} free"
    if not near.is_dir():
        fact, remedy = f"{near} is a file", "Set EVERYCLASS_CACHE to a folder."
    elif not os.access(near, os.W_OK | os.X_OK):
        fact = f"{folder} cannot be written: every audit reads all images anew"
        remedy = "Set EVERYCLASS_CACHE to a folder that you may write to."
    elif free + size < limit:
        remedy = "Free some room, set EVERYCLASS_CACHE_GB to less, or EVERYCLASS_CACHE to a folder "
        remedy += "on a larger disk: what does not fit is decoded anew by every training."
    else:
        return Item(name="cache", state="ok", fact=fact, figures=figures)
    return Item(name="cache", state="note", fact=fact, remedy=remedy, figures=figures)


def temporary_item(folder: Path) -> Item:
    """The temporary folder: what was written there is read back."""
    content = os.urandom(1 << 16)
    (folder / "written").write_bytes(content)
    if (folder / "written").read_bytes() != content:
        raise InputError(
            f"What was written to {folder.parent} reads differently.",
            remedy="Set TMPDIR to a folder on another disk.",
        )
    asked = os.environ.get("TMPDIR")
    if asked and Path(asked).resolve() != folder.parent.resolve():
        return Item(
            name="temporary",
            state="note",
            fact=f"TMPDIR is {asked}, which cannot be used; {folder.parent} is used instead",
            remedy="Make that folder, or set TMPDIR to one that you may write to.",
        )
    return _room("temporary", folder.parent, "Free some room, or set TMPDIR to a larger disk.")


def here_item() -> Item:
    """The folder in which runs would be written."""
    here = Path.cwd()
    if not os.access(here, os.W_OK | os.X_OK):
        return Item(
            name="this folder",
            state="note",
            fact=f"{here} cannot be written: a run cannot be kept here",
            remedy="Change to a folder of yours, or give --out a path elsewhere.",
        )
    remedy = "Free some room before a training, or give --out a path on a larger disk."
    return _room("this folder", here, remedy)


def _room(name: str, folder: Path, remedy: str) -> Item:
    free = shutil.disk_usage(folder).free
    fact, figures = f"{folder}: can be written, {_size(free)} free", {"free_bytes": free}
    if free >= LEAST_ROOM:
        return Item(name=name, state="ok", fact=fact, figures=figures)
    return Item(name=name, state="note", fact=fact, remedy=remedy, figures=figures)


def _described(place: str) -> dict[str, Any]:
    import torch

    if place == "mps":
        return {"name": "Apple GPU", "memory_bytes": None, "free_bytes": None, "bf16": None}
    from everyclass.workflows.machine import find_machine

    known = torch.cuda.get_device_properties(place)
    free, total = torch.cuda.mem_get_info(place)
    bf16 = find_machine("cuda").bf16
    return {"name": known.name, "memory_bytes": total, "free_bytes": free, "bf16": bf16}


def _memory_words(known: dict[str, Any]) -> str:
    if known["memory_bytes"] is None:
        return ""
    words = f" ({_size(known['free_bytes'])} free of {_size(known['memory_bytes'])}"
    return f"{words}, {'computes in' if known['bf16'] else 'no units for'} bfloat16)"


def _computes_wrongly(place: str) -> str:
    """Why a small convolution, forward and back, does not do there; "" where it does."""
    import torch

    rng = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 16, 16, generator=rng)
    filters = torch.randn(8, 3, 3, 3, generator=rng) / 27**0.5
    try:
        off = max(
            float((there.cpu() - here).abs().max() / here.abs().max())
            for here, there in zip(
                _convolved(images, filters), _convolved(images.to(place), filters.to(place))
            )
        )
    except RuntimeError as error:
        return f"does not compute: {str(error).splitlines()[0]}"
    return "" if off <= TOLERANCE else f"computes wrongly: a convolution is off by {off:.1%}"


def _convolved(images: Tensor, filters: Tensor) -> tuple[Tensor, Tensor]:
    """A convolution, and the gradient of its squares."""
    import torch

    filters = filters.clone().requires_grad_(True)
    outputs = torch.nn.functional.conv2d(images, filters)
    (gradient,) = torch.autograd.grad(outputs.square().mean(), filters)
    return outputs.detach(), gradient


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())


def _size_of(folder: Path) -> tuple[int, int]:
    """Bytes and number of the files beneath; what goes while one looks is left out."""
    sizes = list(_sizes(str(folder)))
    return sum(sizes), len(sizes)


def _sizes(folder: str) -> Iterator[int]:
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.stat(os.path.join(place, name)).st_size
            except OSError:
                continue


def _size(n_bytes: float) -> str:
    if n_bytes >= 1e9:
        return f"{n_bytes / 1e9:,.1f} GB"
    return f"{n_bytes / 1e6:,.0f} MB"
