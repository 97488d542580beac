from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from everyclass.errors import EveryclassError, InputError
from everyclass.run_folder import RunFolder, write_atomically


def prepared(path: Path, recipe: str = "new", *, overwrite: bool = False) -> RunFolder:
    run = RunFolder.create(path, overwrite=overwrite)
    run.write_text(run.audit, recipe)
    run.write_text(run.store / "store.json", recipe)
    run.write_text(run.recipe, recipe)
    return run


def started(path: Path, recipe: str = "old") -> RunFolder:
    run = prepared(path, recipe).publish()
    run.write_text(run.evaluation, recipe)
    return run


def contents(path: Path) -> dict[str, str]:
    files = (file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_text() for file in files}


OLD = dict.fromkeys(("recipe.yaml", "audit.json", "evaluation.json", "cache/store.json"), "old")
NEW = dict.fromkeys(("recipe.yaml", "audit.json", "cache/store.json"), "new")


def test_a_run_is_never_overwritten_silently(tmp_path: Path) -> None:
    started(tmp_path / "run")
    with pytest.raises(InputError, match=r"holds a run already.*--resume"):
        RunFolder.create(tmp_path / "run")
    assert contents(tmp_path / "run") == OLD


def test_overwriting_replaces_the_run_when_the_new_one_is_prepared(tmp_path: Path) -> None:
    path = tmp_path / "run"
    started(path)
    (path / "notes.txt").write_text("mine")
    run = prepared(path, overwrite=True)
    visible = {name: text for name, text in contents(path).items() if not name.startswith(".")}
    assert visible == {**OLD, "notes.txt": "mine"}
    assert run.publish().path == path
    assert contents(path) == {**NEW, "notes.txt": "mine"}


def test_abandoning_keeps_the_earlier_run_and_removes_a_new_folder(tmp_path: Path) -> None:
    started(tmp_path / "run")
    prepared(tmp_path / "run", overwrite=True).abandon()
    assert contents(tmp_path / "run") == OLD
    prepared(tmp_path / "other").abandon()
    assert not (tmp_path / "other").exists()


def test_what_a_killed_preparation_left_is_in_nobodys_way(tmp_path: Path) -> None:
    killed = RunFolder.create(tmp_path / "run")
    killed.write_text(killed.store / "store.json", "half")
    assert contents(started(tmp_path / "run").path) == OLD


@pytest.mark.parametrize("calls_before_the_kill", range(12))
def test_killed_anywhere_while_publishing_ends_as_one_of_the_two_runs(
    calls_before_the_kill: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    started(path)
    run = prepared(path, overwrite=True)
    left = calls_before_the_kill

    def dying(real: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object, **named: object) -> None:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            real(*arguments, **named)

        return call

    with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
        for owner, name in ((os, "replace"), (shutil, "rmtree"), (Path, "unlink"), (Path, "rmdir")):
            patched.setattr(owner, name, dying(getattr(owner, name)))
        run.publish()
    RunFolder.open(path)
    found = {name: text for name, text in contents(path).items() if not name.startswith(".")}
    assert found == (OLD if calls_before_the_kill == 0 else NEW)


def test_a_folder_of_something_else_is_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not empty and holds no run"):
        RunFolder.create(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


def test_opening_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        RunFolder.open(tmp_path / "absent")
    with pytest.raises(InputError, match=r"has no recipe\.yaml"):
        RunFolder.open(tmp_path)


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.json"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EveryclassError, match="No space left"):
        write_atomically(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["audit.json"]


def test_checkpoints_keep_two_and_survive_damage(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    assert run.last_checkpoint() is None
    paths = [
        run.save_checkpoint(step, lambda file, s=step: file.write(b"%d" % s)) for step in (1, 2, 3)
    ]
    assert [path.exists() for path in paths] == [False, True, True]
    loaded = run.last_checkpoint()
    assert loaded is not None
    assert loaded[0] == b"3"
    paths[2].write_bytes(b"3 but damaged")
    fallen_back = run.last_checkpoint()
    assert fallen_back is not None
    assert fallen_back[0] == b"2"


def test_a_step_saved_twice_keeps_the_second(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    for content in (b"before validation", b"after validation"):
        run.save_checkpoint(7, lambda file, c=content: file.write(c))
    loaded = run.last_checkpoint()
    assert loaded is not None
    assert loaded[0] == b"after validation"


def test_metrics_skip_a_half_written_line_and_can_be_cut(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    for step in (10, 20, 30):
        run.append_metrics({"step": step})
    with open(run.metrics, "a", encoding="utf-8") as file:
        file.write('{"step": 4')
    assert [line["step"] for line in run.read_metrics()] == [10, 20, 30]
    run.cut_metrics(after_step=20)
    assert [line["step"] for line in run.read_metrics()] == [10, 20]


def test_json_refuses_nan(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.write_json(run.audit, {"mean": float("nan")})
