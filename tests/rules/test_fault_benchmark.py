"""Rules of benchmarks/faults: every guise composes, names are unique, causes are in the contract.

The benchmark is a folder of scripts, not a package, so it is imported by path.
"""

import argparse
import ast
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from everyclass.findings import CauseId

FAULTS = Path(__file__).parents[2] / "benchmarks" / "faults"


@pytest.fixture(scope="module")
def registry():
    sys.path.insert(0, str(FAULTS))
    try:
        import registry

        yield registry
    finally:
        sys.path.remove(str(FAULTS))


def test_every_script_composes_into_one_standalone_file(registry):
    from compose import compose

    found = [*registry.cells(seeds=1, healthy=True), *registry.cells(seeds=1, healthy=False)]
    assert len(found) > 60
    for cell in found:
        text = compose(cell.guise, cell.at)
        tree = ast.parse(text)
        imported = {
            node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
        }
        assert not any(name.split(".")[0] in {"parts", "everyclass"} for name in imported)
        assert "train confusion:" in text or 'f"{name} confusion:"' in text


def test_names_are_unique_and_causes_known(registry):
    guises = list(registry.all_guises())
    cells = [*registry.cells(seeds=2, healthy=True), *registry.cells(seeds=2, healthy=False)]
    assert max(Counter(guise.name for _, guise in guises).values()) == 1
    assert max(Counter(cell.key for cell in cells).values()) == 1
    for cause, guise in guises:
        assert cause == "healthy" or cause in get_args(CauseId), cause
        assert set(guise.accepts) <= set(get_args(CauseId)), guise.name


def asked(**more):
    """The options of `run.py` that say which runs are wanted."""
    usual = {"healthy": None, "faulty": None, "first_seed": 0, "only": "", "shard": "0/1"}
    return argparse.Namespace(**{**usual, "held_out": False, **more})


def test_guises_kept_aside_are_run_instead_when_asked_for(registry):
    from compose import compose
    from run import chosen

    sets = {"demo", "trashnet", "pbc_128"}
    aside = {(cause, guise.name) for cause, guise in registry.held_out_guises()}
    usual = {(cell.cause, cell.guise.name) for cell in chosen(asked(), sets)}
    found = chosen(asked(held_out=True), sets)
    assert {(cell.cause, cell.guise.name) for cell in found} == aside
    assert not aside & usual
    assert len(found) == sum(len(guise.places) for _, guise in registry.held_out_guises())
    for cell in found:
        compile(compose(cell.guise, cell.at), cell.key, "exec")
        one = chosen(asked(held_out=True, only=f"/{cell.guise.name} on"), sets)
        assert {each.guise.name for each in one} == {cell.guise.name}
        assert not chosen(asked(only=f"/{cell.guise.name} on"), sets)


def test_healthy_runs_of_guises_kept_aside_are_refused(registry, monkeypatch, capsys):
    from run import parsed

    monkeypatch.setattr(sys, "argv", ["run.py", "--out", "o", "--held-out", "--healthy", "3"])
    with pytest.raises(SystemExit) as stopped:
        parsed()
    assert stopped.value.code == 2
    assert "no healthy script is kept aside" in capsys.readouterr().err


def test_truth_of_printed_matrices(registry):
    from truth import truth_of

    def printed(train, val):
        return f"epoch 1\ntrain confusion: {train}\nval confusion: {val}\n"

    good = [[90, 10], [10, 90]]
    assert truth_of(printed(good, good)).outcome == "sound"
    # One class for every image: balanced accuracy 1/2.
    assert truth_of(printed(good, [[50, 0], [50, 0]])).outcome == "broken"
    assert truth_of(printed([[100, 0], [100, 0]], good)).outcome == "broken"
    # Class 2 never recognised, the others well: recalls 0.9, 0.9, 0.
    starved = [[90, 10, 0], [10, 90, 0], [10, 10, 0]]
    answer = truth_of(printed(starved, starved))
    assert (answer.outcome, answer.missed) == ("broken", (2,))
    assert answer.val == pytest.approx(0.6)
    assert answer.train_images == 220
    # Validation 0.58 against training 0.9: a fifth of the way that training went.
    assert truth_of(printed(good, [[580, 420], [420, 580]])).outcome == "between"
    assert truth_of("Traceback ...").outcome == "unknown"
    # Balanced accuracy 0.53: 6 % of the way from chance to 1 and, with 100,000 images, no accident.
    slight = [[26500, 23500], [23500, 26500]]
    assert truth_of(printed(slight, slight)).outcome == "between"
