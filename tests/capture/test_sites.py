"""The line of the user's own code."""

from __future__ import annotations

import gc
import linecache
import os
import sys
from pathlib import Path

import torch
from torch import nn

from everyclass.capture.sites import Sites, calling_site, site_text


class Noting(nn.Module):
    def __init__(self, sites: Sites) -> None:
        super().__init__()
        sites.remember(self)


def test_a_constructor_is_where_it_was_called() -> None:
    sites = Sites()
    line = sys._getframe().f_lineno + 1
    thing = Noting(sites)
    assert sites.of(thing) == (__file__, line)
    assert sites.of(object()) is None


def test_frames_of_torch_are_passed_over() -> None:
    found = []

    class Layer(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs

    layer = Layer()
    layer.register_forward_hook(lambda *_: found.append(calling_site()))
    torch.nn.Sequential(layer)(torch.zeros(1))
    name, line = found[0]
    assert name == __file__
    assert "lambda" in linecache.getline(name, line)


def test_a_place_that_is_gone_is_not_another_objects() -> None:
    sites = Sites()
    things = [Noting(sites) for _ in range(50)]
    del things
    gc.collect()
    assert all(sites.of(nn.Linear(1, 1)) is None for _ in range(50))


def test_files_below_the_working_folder_are_short(tmp_path: Path) -> None:
    assert site_text((os.path.join(os.getcwd(), "a", "b.py"), 3)) == f"a{os.sep}b.py:3"
    assert site_text((str(tmp_path / "c.py"), 4)) == f"{tmp_path / 'c.py'}:4"
    assert site_text(None) == ""
