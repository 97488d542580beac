from __future__ import annotations

import subprocess
import sys

import pytest

import everyclass


@pytest.mark.parametrize("name", everyclass.__all__)
def test_each_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(everyclass, name)
    assert value.__doc__, f"{name} has no docstring"


def test_the_lists_agree() -> None:
    assert sorted(everyclass._HOME) == sorted(everyclass.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = everyclass.nonsense


def test_importing_loads_nothing_heavy() -> None:
    script = "import sys, everyclass; print({'torch', 'numpy', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
