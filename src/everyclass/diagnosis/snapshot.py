"""Try things with a live model and leave no trace.

Comes in: a model and its optimizers. While a snapshot is open the model works on copies of its
buffers, and nothing of ours listens to it. On leaving, parameters, buffers, gradients, modes,
plain attributes, the optimizers' state and all random states are what they were, bit for bit.
Knows no check and no trial.
"""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from everyclass.diagnosis.nested import tensors_in

OUR_PACKAGE = "everyclass"

# Held by every module for PyTorch itself; the rest of its __dict__ is what its author put there.
_MACHINERY = frozenset({"_parameters", "_buffers", "_modules"})
_MODULE_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
_OPTIMIZER_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


@contextmanager
def untouched(model: nn.Module, optimizers: Sequence[Optimizer] = ()) -> Iterator[None]:
    """Whatever is done to the model and its optimizers inside is undone on leaving.

    Costs a copy of the parameters, gradients, buffers and of the optimizers' state. Not covered:
    files, other objects that the model's code writes to, and generators of its own.
    """
    with ExitStack() as stack:
        # A loss that warns about shapes has told its user already.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(_without_our_hooks(model, optimizers))
        stack.enter_context(_same_random_state())
        stack.enter_context(_same_parameters(model))
        stack.enter_context(borrowed(model))
        for optimizer in optimizers:
            stack.enter_context(_same_optimizer(optimizer))
        yield


def copied_together(
    model: nn.Module, optimizers: Sequence[Optimizer]
) -> tuple[nn.Module, tuple[Optimizer, ...]]:
    """Copies, the optimizers' parameters being the copied model's; raises what copying raises.

    torch copies of an optimizer no more than its settings, state and groups. What else it needs to
    step is copied here (LBFGS keeps a list of its parameters).
    """
    # What a hook computes before each pass (a pruned weight, one of weight_norm) is a plain
    # attribute with a graph, and torch copies no such tensor: the copy computes its own.
    memo: dict[int, Any] = {
        id(one): one.detach().clone()
        for module in model.modules()
        for one in tensors_in(list(_attributes(module).values()))
        if one.grad_fn is not None
    }
    originals = tuple(optimizers)
    copied, made = copy.deepcopy((model, originals), memo)
    for own, other in zip(originals, made, strict=True):
        for name, value in vars(own).items():
            tensors = isinstance(value, list) and all(isinstance(one, Tensor) for one in value)
            if name not in vars(other) and (tensors or value is None or type(value) is int):
                setattr(other, name, copy.deepcopy(value, memo))
    return copied, made


@contextmanager
def borrowed(model: nn.Module) -> Iterator[None]:
    """For a forward pass or two: the model works on copies of its buffers.

    Modes, buffers and plain attributes are what they were on leaving; parameters are not looked
    at. The buffers themselves are set aside rather than written back, so that a graph the caller
    still holds stays valid.
    """
    kept = [(module, module.training, _attributes(module)) for module in model.modules()]
    buffers = [(module, dict(module._buffers)) for module in model.modules()]
    copies: dict[int, Tensor] = {}
    for module, known in buffers:
        for name, buffer in known.items():
            if buffer is not None:
                # A buffer that two modules share stays shared.
                twin = copies.setdefault(id(buffer), buffer.detach().clone())
                module._buffers[name] = twin
    try:
        yield
    finally:
        for module, known in buffers:
            module._buffers.clear()
            module._buffers.update(known)
        for module, training, attributes in kept:
            _put_back(module, attributes)
            module.training = training


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The same random numbers at every entry, the caller's ones on leaving."""
    with _same_random_state():
        # Not torch.manual_seed: before CUDA is started it would queue a seed for later.
        torch.default_generator.manual_seed(seed)
        if _cuda_started():
            torch.cuda.manual_seed_all(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - somebody's layer may draw from the global state
        yield


@contextmanager
def _same_random_state() -> Iterator[None]:
    states = torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if _cuda_started() else []
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - see `seeded`
    try:
        yield
    finally:
        torch.set_rng_state(states)
        for index, state in enumerate(devices):
            torch.cuda.set_rng_state(state, index)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 - see `seeded`


def _cuda_started() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


@contextmanager
def _same_parameters(model: nn.Module) -> Iterator[None]:
    kept = [
        (parameter, parameter.detach().clone(), parameter.requires_grad)
        for parameter in model.parameters()
    ]
    gradients = [
        (parameter, parameter.grad, None if parameter.grad is None else parameter.grad.clone())
        for parameter in model.parameters()
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value, requires_grad in kept:
                # Written only where it differs: writing counts as a change of the tensor, and a
                # graph that the caller still holds would refuse to go backward.
                if not _same_bits(parameter.detach(), value):
                    parameter.data.copy_(value)
                if parameter.requires_grad != requires_grad:
                    parameter.requires_grad_(requires_grad)
            for parameter, gradient, twin in gradients:
                parameter.grad = gradient
                if gradient is not None and twin is not None and not _same_bits(gradient, twin):
                    gradient.data.copy_(twin)


@contextmanager
def _same_optimizer(optimizer: Optimizer) -> Iterator[None]:
    state = [(parameter, _copied(values)) for parameter, values in optimizer.state.items()]
    groups = [
        {key: _copied(value) for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]
    members = [list(group["params"]) for group in optimizer.param_groups]
    try:
        yield
    finally:
        del optimizer.param_groups[len(groups) :]
        for group, settings, parameters in zip(optimizer.param_groups, groups, members):
            group.clear()
            group.update(settings)
            group["params"] = parameters
        known = dict(state)
        for parameter in [one for one in optimizer.state if one not in known]:
            del optimizer.state[parameter]
        for parameter, values in known.items():
            _restore_state(optimizer.state, parameter, values)


def _restore_state(state: Any, parameter: Tensor, values: Any) -> None:
    """Write the numbers back into the tensors the optimizer holds; others may hold them too."""
    current = state.get(parameter)
    if not isinstance(current, dict) or not isinstance(values, dict):
        state[parameter] = values
        return
    for key in [one for one in current if one not in values]:
        del current[key]
    for key, value in values.items():
        held = current.get(key)
        if isinstance(held, Tensor) and isinstance(value, Tensor) and held.shape == value.shape:
            if not _same_bits(held, value):
                held.data.copy_(value)
        else:
            current[key] = value


@contextmanager
def _without_our_hooks(model: nn.Module, optimizers: Sequence[Optimizer]) -> Iterator[None]:
    """Take our own hooks off: the watch must not count what a check does, and a copied hook would
    drag the whole watch into the copy of the model.
    """
    tables: list[dict[Any, Any]] = []
    for module in model.modules():
        tables += [getattr(module, name) for name in _MODULE_HOOKS]
    for optimizer in optimizers:
        tables += [getattr(optimizer, name) for name in _OPTIMIZER_HOOKS]
    tables += _global_hooks()
    kept = [(table, dict(table)) for table in tables if any(map(_is_ours, table.values()))]
    for table, hooks in kept:
        for key, hook in hooks.items():
            if _is_ours(hook):
                del table[key]
    try:
        yield
    finally:
        for table, hooks in kept:
            table.clear()
            table.update(hooks)


def _global_hooks() -> list[dict[Any, Any]]:
    """The tables of hooks that fire for every module and every optimizer."""
    # torch.optim hides its module of this name behind the class it exports.
    optimizers = import_module("torch.optim.optimizer")
    modules = import_module("torch.nn.modules.module")
    return [
        modules._global_forward_hooks,
        modules._global_forward_pre_hooks,
        optimizers._global_optimizer_pre_hooks,
        optimizers._global_optimizer_post_hooks,
    ]


def _is_ours(hook: Callable[..., Any]) -> bool:
    plain = getattr(hook, "func", hook)  # functools.partial
    home = getattr(plain, "__module__", None) or type(plain).__module__
    return str(home).split(".")[0] == OUR_PACKAGE


def _attributes(module: nn.Module) -> dict[str, Any]:
    """What the module's author keeps in it: counters, hidden states, cached tensors."""
    return {
        key: (value, value.detach().clone() if _is_plain_tensor(value) else None)
        for key, value in vars(module).items()
        if key not in _MACHINERY
    }


def _is_plain_tensor(value: object) -> bool:
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter)


def _put_back(module: nn.Module, attributes: Mapping[str, Any]) -> None:
    held = vars(module)
    for key in [one for one in held if one not in attributes and one not in _MACHINERY]:
        del held[key]
    for key, (value, twin) in attributes.items():
        held[key] = value
        if twin is not None and not _same_bits(value.detach(), twin):
            value.data.copy_(twin)


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(one) for one in value)
    return copy.copy(value)


def _same_bits(left: Tensor, right: Tensor) -> bool:
    return left.shape == right.shape and bool(torch.equal(left, right))
