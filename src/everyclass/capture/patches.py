"""The places where torch is replaced while a script is watched, and put back afterwards.

Comes in: a `Watcher`. Goes out: calls of it at each loss, optimizer, step, batch and network. What
they mean is the watcher's business. This is the only module that changes torch; it draws from no
random generator and changes no result.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
import torch.utils.data.dataloader as dataloader
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from everyclass.capture.losses import WATCHED_LOSSES
from everyclass.diagnosis.case import ClipKind, LossName

Function = Callable[..., Any]


class Watcher(Protocol):
    """Who is told. Nothing that it does may change what the script computes."""

    def loss_begins(
        self, name: LossName, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
    ) -> object | None:
        """Before a loss is computed; what is returned comes back in `loss_ends`."""

    def loss_ends(self, token: Any, value: Any) -> None:
        """After it."""

    def log_softmax(self, inputs: Tensor, outputs: Tensor) -> None:
        """Log-probabilities were computed."""

    def gathered(self, values: Tensor, index: Tensor) -> None:
        """`gather` was called."""

    def module_made(self, module: nn.Module) -> None:
        """A module is being constructed."""

    def state_offered(self, module: nn.Module, state: Mapping[str, Any]) -> object | None:
        """`load_state_dict` was called; what is returned comes back in `state_loaded`."""

    def state_loaded(self, token: Any) -> None:
        """It went through."""

    def module_state(self, module: nn.Module, state: Mapping[str, Any]) -> dict[str, Any]:
        """What of a module's `__dict__` is to be pickled or copied."""

    def compiled(self, target: object, result: object) -> None:
        """`torch.compile(target)` returned `result`."""

    def optimizer_made(self, optimizer: Optimizer) -> None:
        """An optimizer was constructed."""

    def step_ends(self, optimizer: Optimizer) -> None:
        """The parameters have changed; may raise to end the script."""

    def fastai_optimizer_made(self, optimizer: object) -> None:
        """A fastai optimizer, which is none of torch's, was constructed."""

    def fastai_step_ends(self, optimizer: object) -> None:
        """It has changed the parameters."""

    def scaler_begins(self) -> None:
        """`GradScaler.step` was called."""

    def scaler_ends(self) -> None:
        """It returned, with or without a step."""

    def scaled(self, loss: object, result: object) -> None:
        """`GradScaler.scale(loss)` returned `result`."""

    def unscaled(self) -> None:
        """`GradScaler.unscale_` was called: gradients are what they are."""

    def clipped(self, kind: ClipKind, limit: Any, norm_type: Any, norm: object) -> None:
        """Gradients were clipped, as the script asked for; `norm` is what the call returned."""

    def loader_made(self, loader: object) -> None:
        """A data loader was constructed."""

    def loading_begins(self, loader: object) -> None:
        """A pass over a data loader begins."""

    def batch_loaded(self, batch: object) -> None:
        """A data loader yielded."""


@dataclass(slots=True)
class _Replaced:
    owner: Any
    name: str
    original: Any
    inherited: bool
    ours: Any


class _Spot:
    """A watched function. `inside` is what runs where torch.compile traces: until something is
    compiled, and where the whole graph is demanded, the original; else the watched one with a
    break of the graph around it.
    """

    def __init__(self, original: Function, watched: Function) -> None:
        self.original = original
        self.watched = watched
        self.inside = original

    def follow_compiled(self, *, whole_graph: bool) -> None:
        if whole_graph:
            self.inside = self.original
        else:
            self.inside = torch.compiler.disable(self.watched)  # type: ignore[no-untyped-call]


class Patches:
    """Installs the watch on torch and removes it.

    Args:
        watcher: who is told.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._replaced: list[_Replaced] = []
        self._spots: list[_Spot] = []
        self._handles: list[Any] = []
        self._whole_graph = False
        self._within = threading.local()
        self.originals: dict[LossName, Function] = {}

    def install(self) -> None:
        """Replace. Whoever imported a function by name before keeps the original."""
        for name in WATCHED_LOSSES:
            self.originals[name] = getattr(F, name)
            self._replace(F, name, functools.partial(self._loss, name))
        for owner in (F, torch, Tensor):
            self._replace(owner, "log_softmax", self._log_softmax)
        for owner in (torch, Tensor):
            self._replace(owner, "gather", self._gather)
        self._replace(nn.Module, "__init__", self._module_init)
        self._replace(nn.Module, "__reduce_ex__", self._module_reduce)
        self._replace(nn.Module, "load_state_dict", self._load_state)
        self._replace(Optimizer, "__init__", self._optimizer_init)
        self._replace(GradScaler, "step", self._scaler_step)
        self._replace(GradScaler, "scale", self._scaler_scale)
        self._replace(GradScaler, "unscale_", self._scaler_unscale)
        for owner in (nn.utils, nn.utils.clip_grad):
            self._replace(owner, "clip_grad_norm_", self._clip_norm)
            self._replace(owner, "clip_grad_value_", self._clip_value)
        self._replace(dataloader.DataLoader, "__init__", self._loader_init)
        self._replace(dataloader.DataLoader, "__iter__", self._loader_iter)
        self._replace(dataloader._BaseDataLoaderIter, "__next__", self._loader_next)
        self._replace(torch, "compile", self._compile)
        self._replace(torch.jit, "script", self._script)
        self._handles = [register_optimizer_step_post_hook(self._after_step)]

    def follow_fastai(self) -> None:
        """fastai, which has optimizers of its own, has been loaded."""
        kind = sys.modules["fastai.optimizer"].Optimizer
        self._replace(kind, "__init__", self._fastai_init)
        self._replace(kind, "step", self._fastai_step)

    def remove(self) -> None:
        """Put everything back, except what somebody has replaced after us."""
        for handle in self._handles:
            handle.remove()
        self._put_back()
        self._replaced, self._spots, self._handles = [], [], []

    # -- the mechanics -------------------------------------------------------------------------

    def _replace(self, owner: Any, name: str, make: Callable[[Function], Function]) -> None:
        original = getattr(owner, name)
        inherited = isinstance(owner, type) and name not in vars(owner)
        ours = make(original)
        setattr(owner, name, ours)
        self._replaced.append(_Replaced(owner, name, original, inherited, ours))

    def _put_back(self) -> None:
        for one in reversed(self._replaced):
            if vars(one.owner).get(one.name) is not one.ours:
                continue
            if one.inherited:
                delattr(one.owner, one.name)
            else:
                setattr(one.owner, one.name, one.original)

    @contextmanager
    def _put_aside(self) -> Iterator[None]:
        """The originals for as long as somebody reads torch's source code."""
        self._put_back()
        try:
            yield
        finally:
            for one in self._replaced:
                setattr(one.owner, one.name, one.ours)

    def _spot(self, original: Function, watched: Function) -> Function:
        spot = _Spot(original, watched)
        self._spots.append(spot)

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if torch.compiler.is_compiling():
                return spot.inside(*args, **kwargs)
            return watched(*args, **kwargs)

        wrapper.everyclass_original = original  # type: ignore[attr-defined]
        return wrapper

    # -- what is replaced ----------------------------------------------------------------------

    def _loss(self, name: LossName, original: Function) -> Function:
        watcher = self._watcher

        def watched(*args: Any, **kwargs: Any) -> Any:
            # With a torch function mode (a default device is one) the original comes back here.
            if getattr(self._within, "loss", False):
                return original(*args, **kwargs)
            # Labels are read before: on CUDA a label out of range kills every later call.
            token = watcher.loss_begins(name, args, kwargs)
            self._within.loss = True
            try:
                value = original(*args, **kwargs)
            finally:
                self._within.loss = False
            if token is not None:
                watcher.loss_ends(token, value)
            return value

        return self._spot(original, watched)

    def _log_softmax(self, original: Function) -> Function:
        watcher = self._watcher

        def watched(*args: Any, **kwargs: Any) -> Any:
            outputs = original(*args, **kwargs)
            inputs = args[0] if args else kwargs.get("input")
            if isinstance(inputs, Tensor):
                watcher.log_softmax(inputs, outputs)
            return outputs

        return self._spot(original, watched)

    def _gather(self, original: Function) -> Function:
        watcher = self._watcher

        def watched(*args: Any, **kwargs: Any) -> Any:
            index = args[2] if len(args) > 2 else kwargs.get("index")
            if args and isinstance(args[0], Tensor) and isinstance(index, Tensor):
                watcher.gathered(args[0], index)
            return original(*args, **kwargs)

        return self._spot(original, watched)

    def _module_init(self, original: Function) -> Function:
        watcher = self._watcher

        @functools.wraps(original)
        def __init__(module: nn.Module, *args: Any, **kwargs: Any) -> None:
            if not torch.compiler.is_compiling():
                watcher.module_made(module)
            original(module, *args, **kwargs)

        return __init__

    def _module_reduce(self, original: Function) -> Function:
        watcher = self._watcher

        def __reduce_ex__(module: nn.Module, protocol: Any) -> Any:
            reduced = super(nn.Module, module).__reduce_ex__(protocol)
            if isinstance(reduced, tuple) and len(reduced) > 2 and isinstance(reduced[2], dict):
                state = watcher.module_state(module, reduced[2])
                return (*reduced[:2], state, *reduced[3:])
            return reduced

        return __reduce_ex__

    def _load_state(self, original: Function) -> Function:
        watcher = self._watcher

        @functools.wraps(original)
        def load_state_dict(
            module: nn.Module, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any
        ) -> Any:
            # Before: with `assign` the module's tensors are then those of the checkpoint.
            token = watcher.state_offered(module, state_dict)
            result = original(module, state_dict, *args, **kwargs)
            if token is not None:
                watcher.state_loaded(token)
            return result

        return load_state_dict

    def _optimizer_init(self, original: Function) -> Function:
        watcher = self._watcher

        @functools.wraps(original)
        def __init__(optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            watcher.optimizer_made(optimizer)

        return __init__

    def _fastai_init(self, original: Function) -> Function:
        watcher = self._watcher

        @functools.wraps(original)
        def __init__(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            watcher.fastai_optimizer_made(optimizer)

        return __init__

    def _fastai_step(self, original: Function) -> Function:
        watcher = self._watcher

        @functools.wraps(original)
        def step(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(optimizer, *args, **kwargs)
            watcher.fastai_step_ends(optimizer)
            return result

        return step

    def _scaler_step(self, original: Function) -> Function:
        watcher = self._watcher

        @functools.wraps(original)
        def step(*args: Any, **kwargs: Any) -> Any:
            watcher.scaler_begins()
            result = original(*args, **kwargs)
            watcher.scaler_ends()
            return result

        return step

    def _scaler_scale(self, original: Function) -> Function:
        watcher = self._watcher

        @functools.wraps(original)
        def scale(scaler: Any, outputs: Any) -> Any:
            result = original(scaler, outputs)
            watcher.scaled(outputs, result)
            return result

        return scale

    def _scaler_unscale(self, original: Function) -> Function:
        watcher = self._watcher

        @functools.wraps(original)
        def unscale_(*args: Any, **kwargs: Any) -> Any:
            watcher.unscaled()
            return original(*args, **kwargs)

        return unscale_

    def _clip_norm(self, original: Function) -> Function:
        watcher = self._watcher

        @functools.wraps(original)
        def clip_grad_norm_(
            parameters: Any, max_norm: float, norm_type: float = 2.0, *args: Any, **kwargs: Any
        ) -> Any:
            norm = original(parameters, max_norm, norm_type, *args, **kwargs)
            watcher.clipped("norm", max_norm, norm_type, norm)
            return norm

        return clip_grad_norm_

    def _clip_value(self, original: Function) -> Function:
        watcher = self._watcher

        @functools.wraps(original)
        def clip_grad_value_(parameters: Any, clip_value: float, *args: Any, **kwargs: Any) -> Any:
            original(parameters, clip_value, *args, **kwargs)
            watcher.clipped("value", clip_value, 2.0, None)

        return clip_grad_value_

    def _loader_init(self, original: Function) -> Function:
        watcher = self._watcher

        @functools.wraps(original)
        def __init__(loader: Any, *args: Any, **kwargs: Any) -> None:
            original(loader, *args, **kwargs)
            watcher.loader_made(loader)

        return __init__

    def _loader_iter(self, original: Function) -> Function:
        watcher = self._watcher

        @functools.wraps(original)
        def __iter__(loader: Any) -> Any:
            watcher.loading_begins(loader)
            return original(loader)

        return __iter__

    def _loader_next(self, original: Function) -> Function:
        watcher = self._watcher

        @functools.wraps(original)
        def __next__(iterator: Any) -> Any:
            batch = original(iterator)
            watcher.batch_loaded(batch)
            return batch

        return __next__

    def _compile(self, original: Function) -> Function:
        watcher = self._watcher

        @functools.wraps(original)
        def compile(model: Any = None, **kwargs: Any) -> Any:
            self._whole_graph = self._whole_graph or bool(kwargs.get("fullgraph"))
            for spot in self._spots:
                spot.follow_compiled(whole_graph=self._whole_graph)
            result = original(model, **kwargs)
            if model is not None:
                watcher.compiled(model, result)
            return result

        return compile

    def _script(self, original: Function) -> Function:
        # TorchScript compiles the source of torch's own functions, which ours do not have; it
        # also looks for names in the frames of its caller, one further up because of us.
        @functools.wraps(original)
        def script(
            obj: Any,
            optimize: Any = None,
            _frames_up: int = 0,
            _rcb: Any = None,
            example_inputs: Any = None,
        ) -> Any:
            with self._put_aside():
                return original(obj, optimize, _frames_up + 1, _rcb, example_inputs)

        return script

    def _after_step(self, optimizer: Optimizer, args: object, keywords: object) -> None:
        if not torch.compiler.is_compiling():
            self._watcher.step_ends(optimizer)
