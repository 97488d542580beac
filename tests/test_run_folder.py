from __future__ import annotations

import os
from pathlib import Path

import pytest

from everyclass.errors import EveryclassError, InputError
from everyclass.run_folder import RunFolder, write_atomically


def started(path: Path) -> RunFolder:
    run = RunFolder.create(path)
    run.write_text(run.recipe, "image_size: 64\n")
    return run


def test_a_run_is_never_overwritten_silently(tmp_path: Path) -> None:
    started(tmp_path / "run")
    with pytest.raises(InputError, match=r"holds a run already.*--resume"):
        RunFolder.create(tmp_path / "run")
    replaced = RunFolder.create(tmp_path / "run", overwrite=True)
    assert list(replaced.path.iterdir()) == []


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
