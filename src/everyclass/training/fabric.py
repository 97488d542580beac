"""Lightning's Fabric, imported without torchmetrics.

lightning_fabric learns torchmetrics' version by importing it, and that brings transformers and
scipy where they are installed: 0.5 to 1.9 s of every command that computes, for a flag that nothing
here reads. Its metadata answers the same question. Whoever needs Fabric takes it from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

from lightning_utilities.core import imports
from packaging.version import Version


@contextmanager
def _versions_by_metadata() -> Iterator[None]:
    importing = imports.compare_version

    def compare_version(
        package: str, op: Callable[..., bool], version: str, **options: Any
    ) -> bool:
        if package != "torchmetrics":
            return bool(importing(package, op, version, **options))
        try:
            return op(Version(metadata.version(package)), Version(version))
        except metadata.PackageNotFoundError:
            return False

    imports.compare_version = compare_version
    try:
        yield
    finally:
        imports.compare_version = importing


with _versions_by_metadata():
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import (
        ClusterEnvironment,
        LightningEnvironment,
        SLURMEnvironment,
        TorchElasticEnvironment,
    )
    from lightning_fabric.strategies import DDPStrategy, Strategy

__all__ = [
    "ClusterEnvironment",
    "DDPStrategy",
    "Fabric",
    "LightningEnvironment",
    "SLURMEnvironment",
    "Strategy",
    "TorchElasticEnvironment",
]
