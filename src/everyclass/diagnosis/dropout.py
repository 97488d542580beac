"""Dropout in the calls of torch's functions: how much, and another amount instead.

Layers, attention and a forward of one's own all end in the same few functions; those are watched.
Knows no training and no cause.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch.overrides import TorchFunctionMode

_PROBABILITY = {
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"), "p"),
    **dict.fromkeys(("feature_alpha_dropout", "dropout_", "feature_dropout"), "p"),
    "multi_head_attention_forward": "dropout_p",
    "scaled_dot_product_attention": "dropout_p",
}
"""Name of a function -> its argument."""

_PLACE = {"p": 1, "dropout_p": 4}
"""Of the argument, where a function of C++ has no signature to be asked."""


class AlteredDropout(TorchFunctionMode):
    """Gives dropout another probability while it is open.

    Args:
        alter: from the probability in the call to the one that is used.
    """

    def __init__(self, alter: Callable[[float], float]) -> None:
        super().__init__()
        self._alter = alter

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        keywords = kwargs or {}
        known = dropout_of(func, args, keywords)
        if known:
            args, keywords = _with(func, args, keywords, self._alter(known))
        return func(*args, **keywords)


def dropout_of(
    func: Callable[..., Any], args: tuple[Any, ...], keywords: Mapping[str, Any]
) -> float | None:
    """The probability with which a call drops something; None where it drops nothing."""
    argument = _PROBABILITY.get(getattr(func, "__name__", ""))
    if argument is None:
        return None
    given = bound_arguments(func, args, keywords)
    place = _PLACE[argument]
    found = given.get(argument, keywords.get(argument))
    if found is None and given:  # left at its default
        found = inspect.signature(func).parameters[argument].default
    if found is None and not given and len(args) > place:
        found = args[place]
    trains = given.get("training", keywords.get("training", keywords.get("train", True)))
    if not given and argument == "p" and len(args) > 2:
        trains = args[2]
    return float(found) if isinstance(found, (int, float)) and found > 0 and trains else None


def _with(
    func: Callable[..., Any], args: tuple[Any, ...], keywords: Mapping[str, Any], value: float
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    argument = _PROBABILITY[func.__name__]
    if bound_arguments(func, args, keywords):
        bound = inspect.signature(func).bind_partial(*args, **keywords)
        bound.arguments[argument] = value
        return bound.args, bound.kwargs
    place = _PLACE[argument]
    if argument in keywords or len(args) <= place:
        return args, {**keywords, argument: value}
    return (*args[:place], value, *args[place + 1 :]), dict(keywords)


def bound_arguments(
    func: Callable[..., Any], args: tuple[Any, ...], keywords: Mapping[str, Any]
) -> Mapping[str, Any]:
    """What a call gives, by the function's own names; empty for a function without a signature."""
    try:
        bound = inspect.signature(func).bind_partial(*args, **keywords)
    except (TypeError, ValueError):
        return {}
    return bound.arguments
