"""Records what a script computes between a batch and its backward pass, in a step or two.

Comes in: torch's functions as they are called, the answer of the network. Goes out: a `LossTrace`,
the computation of the loss as a list of calls. Adds nothing to a step that is not recorded, and
changes no result. What a trace is good for is in `traced_loss`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from everyclass.diagnosis.traced_loss import LossTrace, TracedCall, Value, map_nested

MOST_CALLS = 4_000
"""Calls that are recorded; a step of more is not one whose loss can be told from the rest."""


class LossTracer(TorchFunctionMode):
    """Records while it is on torch's stack of modes.

    Args:
        listening: says whether it is the script that computes at present.
        on_backward: called before the backward pass, while the weights are still those of the
            trace.
    """

    def __init__(self, listening: Callable[[], bool], on_backward: Callable[[], None]) -> None:
        super().__init__()
        self.trace = LossTrace()
        self.broken = False
        self._on_backward = on_backward
        self._listening = listening
        self._numbers: dict[int, int] = {}
        self._answers = 0

    @property
    def done(self) -> bool:
        """Nothing more is recorded."""
        return self.broken or self.trace.final is not None

    def begin(self) -> bool:
        """Put it on the stack. Returns False, and does nothing, where a mode is there already:
        one that the script leaves before us would take us away instead of itself."""
        if torch._C._len_torch_function_stack() > 0:
            return False
        self.__enter__()  # type: ignore[no-untyped-call]
        return True

    def end(self) -> bool:
        """Take it off. Returns False where another mode lies above it: then it only does nothing,
        and `end` is to be called again."""
        self.broken = self.broken or self.trace.final is None
        top = torch.overrides._get_current_function_mode()  # type: ignore[no-untyped-call]
        if top is not self:
            return False
        self.__exit__(None, None, None)
        return True

    def answered(self, outputs: Iterable[Tensor]) -> None:
        """The network has answered; a second answer is more than a trace can tell apart."""
        if self.done:
            return
        self._answers += 1
        if self._answers > 1:
            self.broken = True
        for position, tensor in enumerate(outputs):
            self.trace.outputs[self._number(tensor)] = position

    def same(self, scaled: object, loss: object) -> None:
        """`scaled` stands for `loss`: a gradient scaler's factor is none of the loss's."""
        if isinstance(scaled, Tensor) and isinstance(loss, Tensor) and not self.done:
            self._numbers[id(scaled)] = self._number(loss)
            self.trace.tensors.append(scaled)  # alive, so that its id is not given again

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        keywords = kwargs or {}
        record = not self.done and self._listening()
        if record and getattr(func, "__name__", "") == "backward" and args:
            if isinstance(args[0], Tensor):
                self.trace.final = self._number(args[0])
                self._on_backward()
            record = False
        # Numbers are taken before the call: it may change a tensor in place.
        given = (self._named(args), self._named(keywords)) if record else ((), {})
        result = func(*args, **keywords)
        if record:
            self._note(func, given, args, result)
        return result

    def _note(
        self, func: Callable[..., Any], given: tuple[Any, Any], args: Sequence[Any], result: Any
    ) -> None:
        if len(self.trace.calls) >= MOST_CALLS:
            self.broken = True
            return
        changed = result
        if getattr(func, "__name__", "") == "__setitem__":
            changed = args[0]
        found = _tensors(changed)
        if found:
            numbers = tuple(self._renumber(one) for one in found)
            original = getattr(func, "everyclass_original", func)
            self.trace.calls.append(TracedCall(original, *given, numbers))

    def _number(self, tensor: Tensor) -> int:
        known = self._numbers.get(id(tensor))
        return self._renumber(tensor) if known is None else known

    def _renumber(self, tensor: Tensor) -> int:
        self.trace.tensors.append(tensor)
        number = self._numbers[id(tensor)] = len(self.trace.tensors) - 1
        return number

    def _named(self, value: Any) -> Any:
        return map_nested(
            value, lambda one: Value(self._number(one)) if isinstance(one, Tensor) else one
        )


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (tuple, list)):
        return [tensor for one in value for tensor in _tensors(one)]
    return []
