"""Runs somebody's script in this process as `python SCRIPT` or `python -m MODULE` would.

Comes in: a script or a module and its arguments. Goes out: its exit code, and what it raised. What
is to happen when the script loads torch is a callback: nothing here loads it, because environment
variables that a script sets first (threads, devices) are read when torch is loaded.
"""

from __future__ import annotations

import builtins
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any

from everyclass.errors import InputError

_OUR_FOLDER = str(Path(__file__).resolve().parent) + os.sep
INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What to run.

    Args:
        name: path of a script, or dotted name of a module.
        arguments: of the script.
        is_module: `python -m NAME`.
    """

    name: str
    arguments: tuple[str, ...] = ()
    is_module: bool = False

    def __str__(self) -> str:
        words = (*(("-m",) if self.is_module else ()), self.name, *self.arguments)
        return " ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a script ended.

    Args:
        code: its exit code, as the shell would see it.
        error: what it raised and did not catch; SystemExit too. None when it ran to its end.
    """

    code: int
    error: BaseException | None

    def __str__(self) -> str:
        if self.error is None:
            return "finished"
        if isinstance(self.error, SystemExit):
            return f"exit {self.code}"
        if isinstance(self.error, KeyboardInterrupt):
            return "interrupted"
        first = str(self.error).strip().splitlines()
        return f"{type(self.error).__name__}: {first[0] if first else ''}".rstrip(": ")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    code: Callable[[], CodeType]  # a syntax error is the script's, shown like any other
    module: ModuleType
    argv0: str
    path0: str


def execute(target: Target) -> Ending:
    """Run to the end, and show an uncaught error as Python would.

    `__main__`, `sys.argv` and `sys.path` are the script's while it runs. The traceback has none
    of our frames.

    Raises:
        InputError: there is no such script or module.
    """
    program = _load(target)
    with _as_main(program, target.arguments):
        try:
            exec(program.code(), program.module.__dict__)
            error: BaseException | None = None
        except BaseException as raised:  # noqa: BLE001 - python shows whatever a script raises
            error = raised
        return _ending(error)


def script_file(target: Target) -> tuple[Path, str]:
    """The file that would run, and the dotted name of its module; "" for a script.

    Raises:
        InputError: there is no such script or module.
    """
    if not target.is_module:
        return Path(_script_path(target.name)), ""
    spec = _module_spec(target.name)
    if spec.origin is None or not os.path.isfile(spec.origin):
        raise InputError(
            f"Module {target.name} is no file.", where="-m", remedy="Name one that is a .py file."
        )
    return Path(spec.origin), spec.name


@contextmanager
def when_loaded(name: str, then: Callable[[], None]) -> Iterator[None]:
    """Call `then` right after a module was loaded for the first time, or now if it already is."""
    if name in sys.modules:
        then()
        yield
        return

    def loaded() -> None:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
            then()

    finder = _Finder(name, loaded)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)


@contextmanager
def before_hard_exit(then: Callable[[], None]) -> Iterator[None]:
    """Call `then` when this process (not a fork of it) ends itself by `os._exit`."""
    original, process = os._exit, os.getpid()

    def exit_at_once(status: int) -> Any:
        if os.getpid() == process:
            then()
        original(status)

    os._exit = exit_at_once
    try:
        yield
    finally:
        if os._exit is exit_at_once:
            os._exit = original


# -- loading ---------------------------------------------------------------------------------------


def _load(target: Target) -> _Program:
    module = ModuleType("__main__")
    module.__dict__.update(__builtins__=builtins, __cached__=None)
    if target.is_module:
        spec = _module_spec(target.name)
        loader: Any = spec.loader
        if not hasattr(loader, "get_code"):
            raise InputError(
                f"Module {target.name} has no Python code.",
                where="-m",
                remedy="Name one that is a .py file.",
            )
        path = spec.origin or target.name
        module.__dict__.update(
            __file__=path, __spec__=spec, __loader__=loader, __package__=spec.parent
        )
        return _Program(
            code=lambda: loader.get_code(spec.name), module=module, argv0=path, path0=os.getcwd()
        )
    path = _script_path(target.name)
    file_loader = importlib.machinery.SourceFileLoader("__main__", path)
    module.__dict__.update(__file__=path, __spec__=None, __loader__=file_loader, __package__=None)

    def code() -> CodeType:
        with open(path, "rb") as file:
            return compile(file.read(), path, "exec", dont_inherit=True)

    folder = os.path.dirname(os.path.realpath(path))
    return _Program(code=code, module=module, argv0=target.name, path0=folder)


def _script_path(name: str) -> str:
    path = os.path.abspath(name)
    if os.path.isdir(path):
        raise InputError(f"{name} is a folder.", remedy="Name the script, or use -m for a package.")
    if not os.path.isfile(path):
        raise InputError(f"There is no script {name}.", remedy="Check the path.")
    return path


def _module_spec(name: str) -> importlib.machinery.ModuleSpec:
    sys.path.insert(0, os.getcwd())
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
    except (ImportError, ValueError, AttributeError) as error:
        raise InputError(
            f"Module {name} cannot be found ({error}).",
            where="-m",
            remedy="Run from the folder that holds it, or install its package.",
        ) from None
    finally:
        sys.path.pop(0)
    if spec is None:
        raise InputError(
            f"There is no module {name} that can be run.",
            where="-m",
            remedy="Run from the folder that holds it; a package needs a __main__.py.",
        )
    return spec


# -- running ---------------------------------------------------------------------------------------


@contextmanager
def _as_main(program: _Program, arguments: Sequence[str]) -> Iterator[None]:
    # Objects, not copies: `sys.argv = [...]` in the script must not outlive it either.
    main, argv, path = sys.modules["__main__"], sys.argv, list(sys.path)
    sys.modules["__main__"] = program.module
    sys.argv = [program.argv0, *arguments]
    if not getattr(sys.flags, "safe_path", False):
        # Our own entry is what Python put first for `everyclass`.
        sys.path[:1] = [program.path0]
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        sys.argv = argv
        sys.path[:] = path


def _ending(error: BaseException | None) -> Ending:
    if isinstance(error, SystemExit):
        return Ending(code=_exit_code(error), error=error)
    if error is None:
        return Ending(code=0, error=None)
    _strip(error)
    sys.excepthook(type(error), error, error.__traceback__)
    code = INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
    return Ending(code=code, error=error)


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code & 0xFF
    sys.stderr.write(f"{stop.code}\n")
    return 1


def _strip(error: BaseException) -> None:
    """Take our frames out of the traceback, and out of those of what caused it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = _without_ours(one.__traceback__)
        waiting += [one.__cause__, one.__context__]


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    frames = []
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if not name.startswith(_OUR_FOLDER):
            frames.append(traceback)
        traceback = traceback.tb_next
    for one, following in zip(frames, [*frames[1:], None]):
        one.tb_next = following
    return frames[0] if frames else None


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module as everybody else would, and adds a call after its loading.

    It may be asked many times before: whoever wants to know whether torch is installed (as
    transformers does) asks for its spec and loads nothing.
    """

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._name = name
        self._then = then
        self._asks = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name or self._asks:
            return None
        self._asks = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._asks = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._then)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any, then: Callable[[], None]) -> None:
        self._loader = loader
        self._then = then

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The module keeps its own loader: others ask it for data and source.
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._then()
