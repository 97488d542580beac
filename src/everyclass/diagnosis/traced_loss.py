"""A script's own loss as a function of outputs and targets, made of a trace.

Comes in: a `LossTrace`, the targets, the network. Goes out: a `TracedLoss`, which computes the same
for other outputs and targets, and without one of its terms; or the reason why it cannot. Knows no
training and no cause.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from everyclass.diagnosis.nested import plain_names, tensors_in
from everyclass.diagnosis.snapshot import seeded

TOLERANCE, IN_16_BITS = 1e-4, 2e-2
"""Of a value computed again, relative."""

FEWEST_ROWS = 9
"""Numbers equal to a smaller batch may as well be something else."""

LARGEST_CONSTANTS = 64 * 2**20

_ADDITIVE = frozenset(
    {"add", "add_", "__add__", "__radd__", "__iadd__", "sub", "sub_", "__sub__", "__isub__"}
)
_DIVISIONS = frozenset({"div", "div_", "true_divide", "__truediv__", "__itruediv__"})


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the trace, by its number; numbers are given once, in order."""

    number: int


@dataclass(frozen=True, slots=True)
class TracedCall:
    """One call of a function of torch.

    Args:
        function: to be called again.
        args, keywords: with a `Value` for each tensor.
        results: numbers of the tensors that came out, in order; one that was changed in place has
            a new number.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    keywords: Mapping[str, Any]
    results: tuple[int, ...]


@dataclass(slots=True)
class LossTrace:
    """What was computed.

    Args:
        tensors: by number, alive as long as the trace is.
        calls: in order.
        outputs: number -> position among the floating tensors of the network's answer.
        final: number of what was differentiated; None until it was.
    """

    tensors: list[Tensor] = field(default_factory=list)
    calls: list[TracedCall] = field(default_factory=list)
    outputs: dict[int, int] = field(default_factory=dict)
    final: int | None = None


class _Rows:
    """Stands for the number of rows in the batch."""


_ROWS = _Rows()


class NotTraceable(Exception):
    """The loss is more than a function of outputs and targets; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedLoss:
    """(what the model returned, targets) -> the scalar that the script differentiated.

    Args:
        calls: what is computed, in order.
        final: number of the result.
        outputs: number -> position among the floating tensors of the model's answer.
        targets: number of the targets; None for a loss that takes none.
        constants: number -> tensor.
        parameters: number -> name in the model, inside its wrappers.
        values: of the parameters, by name.
        zeroed: numbers of values that are taken as 0.
    """

    calls: tuple[TracedCall, ...]
    final: int
    outputs: Mapping[int, int]
    targets: int | None
    constants: Mapping[int, Tensor]
    parameters: Mapping[int, str]
    values: Mapping[str, Tensor]
    zeroed: frozenset[int] = frozenset()

    def __call__(self, output: Any, targets: Tensor) -> Tensor:
        """The loss; raises what torch raises for shapes that do not fit."""
        floats = [one for one in tensors_in(output) if one.is_floating_point()]
        known: dict[int, Any] = {n: floats[at] for n, at in self.outputs.items()}
        device = next(iter(known.values())).device if known else targets.device
        if self.targets is not None:
            known[self.targets] = targets
        known.update({n: one.to(device).clone() for n, one in self.constants.items()})
        known.update({n: self.values[name] for n, name in self.parameters.items()})
        rows = targets.shape[0] if targets.ndim else 1

        def value(one: Any) -> Any:
            if isinstance(one, Value):
                found = known[one.number]
                return found * 0 if one.number in self.zeroed else found
            return rows if one is _ROWS else one

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the script has had them
            for call in self.calls:
                result = call.function(
                    *map_nested(call.args, value), **map_nested(call.keywords, value)
                )
                if result is None:  # x[i] = value
                    result = value(call.args[0])
                known.update(zip(call.results, tensors_in(result)))
        return value(Value(self.final))  # type: ignore[no-any-return]

    def takes(self, output: Any) -> bool:
        """Whether the answer has all that the loss was made of: many networks have auxiliary heads
        in training mode alone.
        """
        floats = sum(one.is_floating_point() for one in tensors_in(output))
        return floats > max(self.outputs.values(), default=-1)

    def bound(self, model: nn.Module) -> TracedLoss:
        """The same with the parameters of another instance of the model."""
        return self.at(plain_names(dict(model.named_parameters(remove_duplicate=False))))

    def at(self, weights: Mapping[str, Tensor]) -> TracedLoss:
        """The same at other weights, by name."""
        return replace(self, values={name: weights[name] for name in self.parameters.values()})

    def weights(self) -> dict[str, Tensor]:
        """Copies of the weights that it takes, as they are now."""
        return {name: one.detach().clone() for name, one in self.values.items()}

    def penalties(self) -> frozenset[int]:
        """Added values that depend on weights and on no output."""
        by_output, by_weight = self._behind(self.outputs), self._behind(self.parameters)
        return frozenset(n for n in self._added_to(by_output) if n in by_weight)

    def adjustments(self) -> frozenset[int]:
        """Vectors, not all elements equal, that are added to outputs and depend on nothing."""
        by_output = self._behind(self.outputs)
        free: set[int] = by_output | self._behind(self.parameters)
        if self.targets is not None:
            free |= self._behind({self.targets: 0})
        return frozenset(
            n
            for n in self._added_to(by_output)
            if n not in free and n in self.constants and _is_uneven(self.constants[n])
        )

    def added(self) -> Tensor | None:
        """(C,) what is added to the outputs before anything else; None without, or in parts."""
        found = [self.constants[n].flatten() for n in self.adjustments()]
        return found[0] if len(found) == 1 else None

    def without(self, numbers: frozenset[int]) -> TracedLoss:
        """The same with these values taken as 0."""
        return replace(self, zeroed=self.zeroed | numbers)

    def _behind(self, roots: Mapping[int, Any]) -> set[int]:
        """Numbers of what depends on these."""
        found = set(roots)
        for call in self.calls:
            if any(one.number in found for one in _values(call)):
                found.update(call.results)
        return found

    def _added_to(self, others: set[int]) -> Iterator[int]:
        """Numbers of what is added to, or subtracted from, one of these and is none of them."""
        for call in self.calls:
            if getattr(call.function, "__name__", "") in _ADDITIVE:
                numbers = [one.number for one in _values(call)]
                if any(one in others for one in numbers):
                    yield from (one for one in numbers if one not in others)


def traced_loss(trace: LossTrace, model: nn.Module, targets: Tensor | None) -> TracedLoss:
    """The loss of a trace.

    Args:
        trace: of a step that came to its backward pass.
        model: whose answer the trace has.
        targets: the tensor that is to be an argument, or one that lies at its place in memory.
    Raises:
        NotTraceable: it depends on more than outputs, targets and weights.
    """
    if trace.final is None or not trace.outputs:
        raise NotTraceable("no backward pass was seen")
    own = plain_names(dict(model.named_parameters(remove_duplicate=False)))
    parameters = {id(p): name for name, p in own.items()}
    made_by = {number: call for call in trace.calls for number in call.results}
    names: dict[int, str] = {}
    constants: dict[int, Tensor] = {}
    wanted: set[int] = set()
    found_targets: int | None = None
    waiting = [trace.final]
    while waiting:
        number = waiting.pop()
        tensor = trace.tensors[number]
        if number in wanted or number in trace.outputs:
            continue
        wanted.add(number)
        name = parameters.get(id(tensor))
        if name is not None and number not in made_by:
            names[number] = name
        elif targets is not None and _same_place(tensor, targets):
            if found_targets not in (None, number):
                raise NotTraceable("its targets come twice")
            found_targets = number
        elif number in made_by:
            waiting += [one.number for one in _values(made_by[number])]
        elif tensor.requires_grad:
            raise NotTraceable("it depends on weights that are none of the network's")
        else:
            constants[number] = tensor.detach().clone()
    if found_targets is None:
        raise NotTraceable("it takes no targets that are known")
    rows = trace.tensors[found_targets].shape[0] if trace.tensors[found_targets].ndim else 1
    _refuse_rows(constants, rows)
    calls = tuple(call for call in trace.calls if wanted & set(call.results))
    calls = tuple(call for call in calls if found_targets not in call.results)
    return TracedLoss(
        calls=tuple(_for_any_rows(call, rows) for call in calls),
        final=trace.final,
        outputs=dict(trace.outputs),
        targets=found_targets,
        constants=constants,
        parameters=names,
        values={name: p for name, p in own.items() if name in names.values()},
    )


def agrees(loss: TracedLoss, trace: LossTrace, targets: Tensor) -> bool:
    """Whether the loss, made of one step, gives what another step's trace gave."""
    if trace.final is None:
        return False
    outputs = [trace.tensors[n].detach() for n, _ in sorted(trace.outputs.items(), key=_second)]
    with torch.no_grad(), seeded(0):
        value = float(loss(outputs, targets.detach()))
    seen = float(trace.tensors[trace.final].detach())
    half = any(one.dtype in (torch.float16, torch.bfloat16) for one in outputs)
    most = IN_16_BITS if half else TOLERANCE
    return math.isclose(value, seen, rel_tol=most, abs_tol=most) or (
        not math.isfinite(seen) and not math.isfinite(value)
    )


def maker(trace: LossTrace, number: int) -> TracedCall | None:
    """The call that a value came of."""
    return next((one for one in reversed(trace.calls) if number in one.results), None)


def undivided(trace: LossTrace, number: int, passes: int) -> int:
    """Number of the loss before its division by the passes that add up to one step."""
    call = maker(trace, number)
    if call is None or len(call.args) != 2 or not isinstance(call.args[0], Value):
        return number
    by = call.args[1]
    # The first step of an epoch may have the passes left over from the last one as well.
    fits = type(by) is int and (by == passes or 1 < by <= 2 * passes)
    divides = getattr(call.function, "__name__", "") in _DIVISIONS and fits
    return call.args[0].number if divides else number


def map_nested(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same tuples, lists, dicts and slices with every leaf changed."""
    if isinstance(value, tuple):
        found = [map_nested(one, change) for one in value]
        return type(value)(*found) if hasattr(value, "_fields") else tuple(found)
    if isinstance(value, list):
        return [map_nested(one, change) for one in value]
    if isinstance(value, dict):
        return {key: map_nested(one, change) for key, one in value.items()}
    if isinstance(value, slice):
        return slice(*(change(one) for one in (value.start, value.stop, value.step)))
    return change(value)


def _second(pair: tuple[int, int]) -> int:
    return pair[1]


def _refuse_rows(constants: Mapping[int, Tensor], rows: int) -> None:
    if sum(one.numel() * one.element_size() for one in constants.values()) > LARGEST_CONSTANTS:
        raise NotTraceable("it takes other tensors, too large to keep")
    if rows >= FEWEST_ROWS and any(one.ndim and one.shape[0] == rows for one in constants.values()):
        raise NotTraceable("it takes something else of each image, not only its target")


def _for_any_rows(call: TracedCall, rows: int) -> TracedCall:
    """The call with the size of the batch, where it stands among the arguments, left open."""
    if rows < FEWEST_ROWS:
        return call

    def change(one: Any) -> Any:
        return _ROWS if type(one) is int and one == rows else one

    return replace(
        call, args=map_nested(call.args, change), keywords=map_nested(dict(call.keywords), change)
    )


def _values(call: TracedCall) -> list[Value]:
    found: list[Value] = []

    def note(one: Any) -> Any:
        if isinstance(one, Value):
            found.append(one)
        return one

    map_nested((call.args, dict(call.keywords)), note)
    return found


def _same_place(tensor: Tensor, targets: Tensor) -> bool:
    return (
        tensor.data_ptr() == targets.data_ptr()
        and tensor.shape == targets.shape
        and tensor.dtype == targets.dtype
        and tensor.numel() > 0
    )


def _is_uneven(tensor: Tensor) -> bool:
    return tensor.numel() > 1 and bool((tensor != tensor.flatten()[0]).any())
