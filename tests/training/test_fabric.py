"""Fabric comes without torchmetrics, and what it believes of versions stays true."""

from __future__ import annotations

import subprocess
import sys


def test_what_trains_does_not_import_torchmetrics() -> None:
    code = (
        "import sys, everyclass.workflows.train, everyclass.workflows.repair\n"
        "print({'torchmetrics', 'transformers'} & set(sys.modules))\n"
        "from lightning_utilities.core.imports import compare_version\n"
        "from lightning_fabric.utilities import imports\n"
        "import operator\n"
        "print(imports._TORCHMETRICS_GREATER_EQUAL_1_0_0"
        " == compare_version('torchmetrics', operator.ge, '1.0.0'), 'torchmetrics' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["set()", "True True"]
