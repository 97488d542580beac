"""Running a script in this process, and the moments at which something is to happen."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

import pytest

from everyclass.capture.execute import (
    Target,
    before_hard_exit,
    execute,
    when_loaded,
)


def write(folder: Path, text: str, name: str = "script.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_the_interpreter_is_as_before_afterwards(tmp_path: Path) -> None:
    before = sys.modules["__main__"], sys.argv, list(sys.path)
    script = write(tmp_path, "import sys\nsys.path.append('x')\nsys.argv = ['y']\n1 / 0\n")
    ending = execute(Target(name=script, arguments=("a",)))
    assert ending.code == 1
    assert isinstance(ending.error, ZeroDivisionError)
    assert (sys.modules["__main__"], sys.argv, list(sys.path)) == before


def test_the_script_is_found_as_main_by_pickle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "import pickle\n"
        "class Thing:\n    pass\n"
        "print(type(pickle.loads(pickle.dumps(Thing()))).__module__)\n"
    )
    assert execute(Target(name=write(tmp_path, text))).code == 0
    assert capsys.readouterr().out == "__main__\n"


def test_our_frames_are_not_in_chained_tracebacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "def outer():\n"
        "    try:\n"
        "        {}['a']\n"
        "    except KeyError as error:\n"
        "        raise ValueError('b') from error\n"
        "outer()\n"
    )
    ending = execute(Target(name=write(tmp_path, text)))
    shown = capsys.readouterr().err
    assert str(ending) == "ValueError: b"
    assert "KeyError: 'a'" in shown
    assert "execute.py" not in shown
    assert shown.count('File "') == 3


def test_a_scripts_own_hook_shows_its_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    text = (
        "import sys\n"
        "sys.excepthook = lambda kind, error, traceback: print('mine', kind.__name__)\n"
        "raise OSError\n"
    )
    assert execute(Target(name=write(tmp_path, text))).code == 1
    assert capsys.readouterr().out == "mine OSError\n"


def test_a_call_comes_right_after_a_module_was_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "VALUE = 3\n", "loaded_late.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    seen: list[int] = []
    finders = list(sys.meta_path)

    def then() -> None:
        seen.append(sys.modules["loaded_late"].VALUE)

    with when_loaded("loaded_late", then):
        assert seen == []
        module = importlib.import_module("loaded_late")
        assert seen == [3]
        assert type(module.__loader__).__name__ == "SourceFileLoader"
        assert module.__spec__ is not None
        assert module.__spec__.loader is module.__loader__
    assert sys.meta_path == finders
    with when_loaded("loaded_late", then):
        assert seen == [3, 3]
    with when_loaded("never_loaded", then):
        pass
    assert sys.meta_path == finders


def test_who_asks_whether_a_module_is_installed_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "asked_for_first.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    called = []
    with when_loaded("asked_for_first", lambda: called.append("asked_for_first" in sys.modules)):
        assert importlib.util.find_spec("asked_for_first") is not None
        assert importlib.util.find_spec("asked_for_first") is not None
        assert called == []
        importlib.import_module("asked_for_first")
        assert called == [True]
        importlib.reload(sys.modules["asked_for_first"])
        assert called == [True]


def test_a_hard_exit_is_told_first(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[object] = []
    monkeypatch.setattr(os, "_exit", order.append)
    theirs = os._exit
    with before_hard_exit(lambda: order.append("told")):
        os._exit(4)
    assert order == ["told", 4]
    assert os._exit is theirs
