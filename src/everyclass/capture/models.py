"""Which network is trained, and what it is called with.

Comes in: parameters (of an optimizer, or reached from a loss). Goes out: the modules that hold
them, and a `ModelCall` for each outermost call of one of these. A hook on a compiled network's
inside would be compiled too, so the wrapper is hooked instead. Knows no loss and no optimizer.
"""

from __future__ import annotations

import gc
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from everyclass.diagnosis.nested import plain, tensors_in

MOST_GRAPH_NODES = 20_000
"""Nodes of a loss's graph that are searched for parameters."""

MOST_OUTPUTS = 8
LARGEST_OUTPUT = 1_000_000
"""Elements of an output that is kept until the loss has come: logits, not pictures."""

RECENT_CALLS = 8


@dataclass(slots=True)
class ModelCall:
    """One call of a network by the script.

    Args:
        module: what was called.
        gradients: whether gradients were enabled.
        training_mode: `module.training`.
        attacked: an input leaf requires gradients: the inputs themselves are optimised.
        kept: (args, keywords) copied before the call, None unless the reservoir wanted them.
        outputs: tensors of the answer, detached, in order; empty while the call runs.
        used: whether a loss has taken the outputs.
        number: of the call among those of its kind, with `kept`.
        log_probs: what `log_softmax` made of the outputs.
        targets: (B,) class ids, of the batch that was loaded last or of a gather from `log_probs`.
    """

    module: nn.Module
    gradients: bool
    training_mode: bool
    attacked: bool = False
    kept: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    outputs: tuple[Tensor, ...] = ()
    used: bool = False
    number: int = 0
    log_probs: Tensor | None = None
    targets: Tensor | None = None

    @property
    def rows(self) -> int:
        """Of the first output; -1 while there is none."""
        return self.outputs[0].shape[0] if self.outputs and self.outputs[0].dim() else -1

    def position_of(self, tensor: Tensor) -> int | None:
        """Which output the tensor is (or is a view of); None when it is none of them."""
        pointer = tensor.data_ptr()
        for i, one in enumerate(self.outputs):
            if one.data_ptr() == pointer and one.numel() == tensor.numel():
                return i
        return None

    def scores(self, n_columns: int) -> Tensor | None:
        """The first output of `n_columns` columns (of one column or none for a binary answer)."""
        for one in self.outputs:
            if one.dim() == 2 and one.shape[1] == n_columns:
                return one
            if n_columns == 1 and one.dim() == 1:
                return one
        return None


BeforeHook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]
AfterHook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], None]


@dataclass(slots=True)
class _Tracked:
    module: nn.Module
    handles: tuple[Any, Any]


@dataclass(slots=True)
class CallTap:
    """Forward hooks on some modules, which find the outermost calls.

    The hooks are never compiled (`track` stops at a compiled wrapper) and leave no trace in a
    saved or copied model: see `without_hooks`.

    Args:
        before, after: the hooks; they are to ask `begin` and `end`.
    """

    before: BeforeHook
    after: AfterHook
    recent: deque[ModelCall] = field(default_factory=lambda: deque(maxlen=RECENT_CALLS))
    _tracked: dict[int, _Tracked] = field(default_factory=dict)
    _open: list[nn.Module] = field(default_factory=list)
    _call: ModelCall | None = None

    @property
    def open_call(self) -> ModelCall | None:
        """The outermost call that runs at present."""
        return self._call

    def tracks(self, module: nn.Module) -> bool:
        """Whether this very module is hooked (a replica or copy with the same hooks is not)."""
        known = self._tracked.get(id(module))
        return known is not None and known.module is module

    def track(self, root: nn.Module) -> None:
        """Hook a network and its parts; of a compiled one the wrapper alone.

        What has no parameters (a loss, a metric) is no network.
        """
        for module in outside_of_compiled(root):
            if not self.tracks(module) and next(module.parameters(), None) is not None:
                self._tracked[id(module)] = _Tracked(
                    module,
                    (
                        module.register_forward_pre_hook(self.before, with_kwargs=True),
                        module.register_forward_hook(self.after, with_kwargs=True),
                    ),
                )

    def keep_only(self, module: nn.Module | None) -> None:
        """Unhook all others."""
        for key, one in list(self._tracked.items()):
            if one.module is not module:
                for handle in one.handles:
                    handle.remove()
                del self._tracked[key]
        self._open.clear()
        self._call = None

    def forget(self, root: nn.Module) -> None:
        """Unhook a network and its parts."""
        for module in root.modules():
            if self.tracks(module):
                for handle in self._tracked.pop(id(module)).handles:
                    handle.remove()

    def without_hooks(self, module: nn.Module, state: Mapping[str, Any]) -> dict[str, Any]:
        """A module's `__dict__` as it would be if nobody watched, for pickling and copying."""
        clean = dict(state)
        known = self._tracked.get(id(module))
        if known is not None and known.module is module:
            own = {handle.id for handle in known.handles}
            for name in (
                *("_forward_hooks", "_forward_hooks_with_kwargs"),
                *("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"),
            ):
                hooks = clean[name]
                clean[name] = type(hooks)((k, v) for k, v in hooks.items() if k not in own)
        return clean

    def begin(
        self, module: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]
    ) -> ModelCall | None:
        """A hooked module is called. Returns the call if it is an outermost one."""
        if not self.tracks(module) or torch.compiler.is_compiling():
            return None
        # A call that raised never ended; what is not inside the open call starts anew.
        if self._open and (
            module is self._open[0] or not any(module is one for one in self._open[0].modules())
        ):
            self._open.clear()
        self._open.append(module)
        if len(self._open) > 1:
            return None
        self._call = ModelCall(
            module=module,
            gradients=torch.is_grad_enabled(),
            training_mode=module.training,
            attacked=any(
                one.requires_grad and one.is_leaf and not isinstance(one, nn.Parameter)
                for one in tensors_in((*args, *keywords.values()))
            ),
        )
        return self._call

    def end(self, module: nn.Module, output: Any) -> ModelCall | None:
        """A hooked module has answered. Returns the call if it was the outermost one."""
        if not self.tracks(module) or torch.compiler.is_compiling():
            return None
        while self._open and self._open[-1] is not module:
            self._open.pop()
        if self._open:
            self._open.pop()
        call = self._call
        if self._open or call is None or call.module is not module:
            return None
        self._call = None
        floats = (one for one in tensors_in(output) if one.is_floating_point())
        call.outputs = tuple(
            one.detach()
            for own in itertools.islice(floats, MOST_OUTPUTS)
            if (one := plain(own)) is not None and one.numel() <= LARGEST_OUTPUT
        )
        self.recent.append(call)
        return call


def outside_of_compiled(root: nn.Module) -> Iterator[nn.Module]:
    """The module and those below it that are not inside a compiled one."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield module
        if not is_compiled(module):
            waiting.extend(one for one in module._modules.values() if one is not None)


def is_compiled(module: nn.Module) -> bool:
    """Whether calls of the module run compiled code."""
    return (
        type(module).__name__ == "OptimizedModule"
        or isinstance(module, torch.jit.ScriptModule)
        or getattr(module, "_compiled_call_impl", None) is not None
    )


def tops_of(parameters: Iterable[Tensor]) -> tuple[nn.Module, ...]:
    """The outermost modules that hold some of the parameters, found among all that exist.

    One walk over the objects that the garbage collector knows (0.1 s for 300,000).
    """
    wanted = {id(one) for one in parameters}
    modules = [one for one in gc.get_objects() if issubclass(type(one), nn.Module)]
    modules = [one for one in modules if "_modules" in one.__dict__]
    parents: dict[int, list[nn.Module]] = {}
    for module in modules:
        for child in module._modules.values():
            if child is not None:
                parents.setdefault(id(child), []).append(module)
    waiting = [
        module
        for module in modules
        if any(id(one) in wanted for one in module._parameters.values())
    ]
    tops: dict[int, nn.Module] = {}
    seen: set[int] = set()
    while waiting:
        module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        above = parents.get(id(module), [])
        waiting.extend(above)
        if not above:
            tops[id(module)] = module
    return tuple(tops.values())


def parameters_behind(loss: Tensor) -> tuple[Tensor, ...]:
    """Leaves that the loss depends on, from its graph."""
    found: dict[int, Tensor] = {}
    seen: set[Any] = set()
    waiting = [loss.grad_fn]
    while waiting and len(seen) < MOST_GRAPH_NODES:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            found[id(leaf)] = leaf
        waiting.extend(following for following, _ in node.next_functions)
    return tuple(found.values())


def copied(value: Any, copy: Callable[[Tensor], Tensor], *, depth: int = 4) -> Any:
    """The same nesting with each tensor copied; other objects as they are."""
    if isinstance(value, Tensor):
        return copy(value)
    if depth > 0:
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*(copied(one, copy, depth=depth - 1) for one in value))
        if type(value) in (tuple, list):
            return type(value)(copied(one, copy, depth=depth - 1) for one in value)
        if type(value) is dict:
            return {key: copied(one, copy, depth=depth - 1) for key, one in value.items()}
    return value
