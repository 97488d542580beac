"""Edits of how the optimizer is built: its rate, its kind, its decay.

Comes in: a `Script` and `Facts`. Goes out: an `Edit`, or NotEditable with the reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from everyclass.fixing.facts import Edit, Facts
from everyclass.fixing.find import first_argument, optimizer_call
from everyclass.fixing.imports import torch_named
from everyclass.fixing.source import (
    NotEditable,
    Script,
    Splice,
    keyword,
    last_name,
    scaled,
    with_keyword,
)

PEAK_SCHEDULES = {"OneCycleLR": (("max_lr", 1),), "CyclicLR": (("base_lr", 1), ("max_lr", 2))}
"""Schedules that set the rate themselves: their arguments that are rates, with their places."""

SCHEDULES = re.compile(r"(LR|WarmRestarts|Scheduler|_warmup)$|^get_\w*schedule")
SECOND_IS_RATE = frozenset(
    {"SGD", "Adam", "AdamW", "RMSprop", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "Rprop"}
)


def rate_times(factor: float) -> Callable[[Script, Facts], Edit]:
    """The rate scaled wherever it is set absolutely: optimizer, groups, schedules, by hand."""

    def edit(script: Script, facts: Facts) -> Edit:
        arguments = _trainer_arguments(script)
        if "optimizer" not in facts.lines and arguments is not None:
            splice = _scaled_argument(script, arguments, "learning_rate", factor, 5e-5)
            return Edit(sentence=_rate_words(facts, factor), splices=(splice,))
        call = optimizer_call(script, facts)
        peak = facts.peak_rate
        base = facts.first_rate if peak is None else peak
        schedules = [one for one in script.walk() if last_name(one.func) in PEAK_SCHEDULES]
        splices = [
            _scaled_argument(script, one, name, factor, base, place=place)
            for one in schedules
            for name, place in PEAK_SCHEDULES[last_name(one.func)]
        ]
        if not schedules:
            splices.append(_scaled_rate(script, call, factor, base))
        splices += [script.replace(one, scaled(script, one, factor)) for one in _by_hand(script)]
        for one in _group_values(call, "lr"):
            splices.append(script.replace(one, scaled(script, one, factor)))
        return Edit(sentence=_rate_words(facts, factor), splices=tuple(splices))

    return edit


def _rate_words(facts: Facts, factor: float) -> str:
    words = f"The learning rate is multiplied by {factor:g}"
    if facts.peak_rate is None:
        return f"{words}."
    return f"{words}: at most {facts.peak_rate * factor:.3g} instead of {facts.peak_rate:.3g}."


def _scaled_rate(script: Script, call: ast.Call, factor: float, base: float | None) -> Splice:
    place = 1 if last_name(call.func) in SECOND_IS_RATE else None
    return _scaled_argument(script, call, "lr", factor, base, place=place)


def _scaled_argument(
    script: Script,
    call: ast.Call,
    name: str,
    factor: float,
    default: float | None,
    *,
    place: int | None = None,
) -> Splice:
    named = keyword(call, name)
    value = None if named is None else named.value
    if value is None and place is not None and len(call.args) > place:
        value = call.args[place]
    if value is not None and not isinstance(value, ast.Starred):
        return script.replace(value, scaled(script, value, factor))
    if any(one.arg is None for one in call.keywords) or default is None:
        raise NotEditable("The learning rate is given in a way that was not recognised.")
    return with_keyword(script, call, name, f"{default * factor:.6g}")


def _trainer_arguments(script: Script) -> ast.Call | None:
    """The call that tells a Hugging Face Trainer its rate."""
    found = [one for one in script.walk() if last_name(one.func).endswith("TrainingArguments")]
    return found[0] if len(found) == 1 else None


def _by_hand(script: Script) -> Iterator[ast.expr]:
    """What is put into `group["lr"]` or `group["initial_lr"]`, unless it is made of them."""
    for one in ast.walk(script.tree):
        if not isinstance(one, ast.Assign) or not isinstance(one.targets[0], ast.Subscript):
            continue
        if _key(one.targets[0]) not in ("lr", "initial_lr"):
            continue
        read = [_key(part) for part in ast.walk(one.value) if isinstance(part, ast.Subscript)]
        if not {"lr", "initial_lr"} & set(read):
            yield one.value


def _key(node: ast.Subscript) -> str:
    value = node.slice.value if isinstance(node.slice, ast.Constant) else None
    return value if isinstance(value, str) else ""


def _group_values(call: ast.Call, name: str) -> Iterator[ast.expr]:
    """Values of a key in the groups that the call is given."""
    for node in ast.walk(call):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values):
                if isinstance(key, ast.Constant) and key.value == name:
                    yield value
        elif isinstance(node, ast.Call) and last_name(node.func) == "dict":
            given = keyword(node, name)
            if given is not None:
                yield given.value


def to_adam(script: Script, facts: Facts) -> Edit:
    """Adam at 1e-3 in place of the optimizer, over what it was given, at that rate throughout."""
    call = optimizer_call(script, facts)
    given = first_argument(call)
    if given is None:
        raise NotEditable("What the optimizer is given was not recognised.")
    name, extra = _sibling(script, call, "Adam")
    splices = [*extra, script.replace(call, f"{name}({script.of(given)}, lr=1e-3)")]
    also = ""
    if facts.rate_varied:  # the trial's rate did not
        schedule, replaced = _without_schedule(script)
        splices += replaced
        also = f", which {last_name(schedule.func)} no longer changes"
    return Edit(sentence=f"The optimizer is Adam at a rate of 1e-3{also}.", splices=tuple(splices))


def _sibling(script: Script, call: ast.Call, name: str) -> tuple[str, tuple[Splice, ...]]:
    """Another class of `torch.optim`, as the script can name it, with the import it needs."""
    func = call.func
    if isinstance(func, ast.Attribute) and last_name(func.value) == "optim":
        return f"{script.of(func.value)}.{name}", ()
    return f"torch.optim.{name}", torch_named(script)


def no_weight_decay(script: Script, facts: Facts) -> Edit:
    """weight_decay = 0 in the optimizer and its groups."""
    call = optimizer_call(script, facts)
    given = keyword(call, "weight_decay")
    splices = [script.replace(one, "0.0") for one in _group_values(call, "weight_decay")]
    if given is not None:
        splices.append(script.replace(given.value, "0.0"))
    elif not splices:
        if any(one.arg is None for one in call.keywords):
            raise NotEditable("The weight decay is given in a way that was not recognised.")
        splices.append(with_keyword(script, call, "weight_decay", "0.0"))
    return Edit(sentence="The weight decay is set to 0.", splices=tuple(splices))


def constant_rate(script: Script, facts: Facts) -> Edit:
    """The schedule replaced by one that keeps the peak of the rates."""
    call = optimizer_call(script, facts)
    schedule, splices = _without_schedule(script)
    if last_name(schedule.func) in PEAK_SCHEDULES:
        if facts.peak_rate is None:
            raise NotEditable("The peak of the rate is not known.")
        given = keyword(call, "lr")
        peak = f"{facts.peak_rate:.6g}"
        splices.append(
            script.replace(given.value, peak)
            if given is not None
            else with_keyword(script, call, "lr", peak)
        )
    return Edit(
        sentence=f"{last_name(schedule.func)} no longer changes the rate: it stays at its peak.",
        splices=tuple(splices),
    )


def _without_schedule(script: Script) -> tuple[ast.Call, list[Splice]]:
    """The script's schedule of the rate, and one that leaves the rate alone in its place."""
    schedules = [one for one in script.walk() if _is_schedule(one)]
    if len(schedules) != 1:
        raise NotEditable(
            "The rate is changed by hand or by several schedules; none could be taken away."
        )
    schedule = schedules[0]
    name, extra = _lambda_schedule(script, schedule)
    constant = f"{name}({script.of(schedule.args[0])}, lambda step: 1.0)"
    return schedule, [*extra, script.replace(schedule, constant)]


def _is_schedule(call: ast.Call) -> bool:
    return bool(call.args) and bool(SCHEDULES.search(last_name(call.func)))


def _lambda_schedule(script: Script, schedule: ast.Call) -> tuple[str, tuple[Splice, ...]]:
    """LambdaLR as the script can name it, with the import that it needs."""
    func = schedule.func
    if isinstance(func, ast.Attribute) and last_name(func.value) == "lr_scheduler":
        return f"{script.of(func.value)}.LambdaLR", ()
    if last_name(func) == "LambdaLR":
        return script.of(func), ()
    return "torch.optim.lr_scheduler.LambdaLR", torch_named(script)
