"""Networks that others made, by reference: `torchvision:resnet18`, `my_net:build`, `mine.py:build`.

Comes in: a reference. Goes out: a network, or one message of what is wrong with the reference or
the code behind it. Before the colon stands a module, as `import` finds it from the current folder
on, or the path of a `.py` file; after it a function of the number of classes. That code is run, and
nothing else of a run folder is: loading a model of such a run means running it again.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from everyclass.errors import InputError
from everyclass.models.torchvision_models import refuse_unknown_torchvision
from everyclass.settings import TORCHVISION, is_function


def refuse_unknown_reference(name: str) -> None:
    """Raise InputError when there is nothing behind a reference. A user's module is imported."""
    if is_function(name):
        _found(name)
    else:
        refuse_unknown_torchvision(name.removeprefix(TORCHVISION))


def made_by_function(name: str, n_classes: int) -> nn.Module:
    """What the user's function gives for so many classes.

    Args:
        name: `module:function` or `path/to/file.py:function`.
    Raises:
        InputError: no such module or function, an exception in either, or no `torch.nn.Module`.
    """
    found = _found(name)
    try:
        with _importing_from(found.folder):
            network: Any = found.function(n_classes)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{name} failed when it was called with {n_classes} classes: {found.told(error)}.",
            remedy="Correct it: it takes the number of classes and returns a torch.nn.Module.",
        ) from error
    if not isinstance(network, nn.Module):
        raise InputError(
            f"{name} returned a {type(network).__name__}, which is no torch.nn.Module.",
            remedy="Let it take the number of classes and return the network.",
        )
    return network


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A function, the file it stands in, and the folder that its own imports start from."""

    function: Callable[[int], Any]
    file: str | None
    folder: Path

    def told(self, error: BaseException) -> str:
        """An exception in words, with the line of the user's file where there is one."""
        return told(error, self.file)


def told(error: BaseException, file: str | None) -> str:
    """An exception in words.

    Args:
        file: whose last line on the way to it is named; None for none.
    """
    text = str(error).strip()
    words = f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
    lines = [one for one in traceback.extract_tb(error.__traceback__) if one.filename == file]
    place = f" ({Path(file).name}, line {lines[-1].lineno})" if lines and file else ""
    return words.rstrip(".") + place


def _found(name: str) -> _Found:
    module_name, _, function_name = name.rpartition(":")
    if not module_name or not function_name:
        raise InputError(
            f"{name!r} is no reference to a network.",
            remedy="Write MODULE:FUNCTION, PATH/FILE.py:FUNCTION or torchvision:NAME.",
        )
    if module_name.endswith(".py"):
        path = Path(module_name).expanduser().resolve()
        module, folder = _of_file(path, name), path.parent
    else:
        folder = Path.cwd()
        module = _of_name(module_name, name, folder)
    file = getattr(module, "__file__", None)
    try:
        function: Any = attrgetter(function_name)(module)
    except AttributeError:
        own = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        near = difflib.get_close_matches(function_name, own, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise InputError(
            f"{file or module_name} has no {function_name!r}.{hint}",
            remedy=f"Correct what stands after the colon of {name}.",
        ) from None
    if not callable(function):
        raise InputError(
            f"{name} is a {type(function).__name__}, which cannot be called.",
            remedy="Name a function of the number of classes that returns a torch.nn.Module.",
        )
    return _Found(function=function, file=file, folder=folder)


def _of_name(module_name: str, name: str, folder: Path) -> ModuleType:
    importlib.invalidate_caches()
    try:
        with _importing_from(folder):
            return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _failed_import(name, error, None) from error
        raise InputError(
            f"There is no module {module_name!r} in {folder} or among the installed packages, and "
            f"the network is made by {name}.",
            remedy=f"Run the command in the folder of {module_name.split('.')[0]}, add that folder "
            "to PYTHONPATH, or write the path of the .py file before the colon.",
        ) from None
    except (Exception, SystemExit) as error:
        ending = f"{module_name.replace('.', os.sep)}.py"
        passed = [one.filename for one in traceback.extract_tb(error.__traceback__)]
        file = next((one for one in reversed(passed) if one.endswith(ending)), None)
        raise _failed_import(name, error, file) from error


def _of_file(path: Path, name: str) -> ModuleType:
    if not path.is_file():
        raise InputError(
            f"There is no file {path}, and the network is made by {name}.",
            remedy="Run the command where that path leads to it, or correct the path.",
        )
    # A name of its own: a file called as some installed module must not take its place.
    own = f"everyclass_model_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(own, path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[own] = module  # dataclasses look their module up while it is run
    try:
        with _importing_from(path.parent):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[own]
        raise _failed_import(name, error, str(path)) from error
    return module


def _failed_import(name: str, error: BaseException, file: str | None) -> InputError:
    if isinstance(error, SyntaxError) and error.filename:
        words = f"{error.msg} ({Path(error.filename).name}, line {error.lineno})"
    else:
        words = told(error, file)
    return InputError(
        f"The module of {name} cannot be imported: {words}.",
        remedy="Correct it, so that importing it gives the function and does nothing else.",
    )


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """The folder first on the path of imports, as it is for a script that lies there."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
