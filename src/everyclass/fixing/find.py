"""Where a script builds its optimizer and its loss, and where it steps.

Comes in: a `Script` and `Facts`. Goes out: nodes of its tree; NotEditable with the reason where a
place is not in the script or not the only one. Edits nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from everyclass.fixing.facts import Facts, Part
from everyclass.fixing.source import LOOPS, NotEditable, Scope, Script, last_name

LOSS_CLASSES = frozenset(
    {
        *("CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss", "MSELoss"),
        *("MultiMarginLoss",),
    }
)
LOSS_FUNCTIONS = frozenset(
    {
        *("cross_entropy", "nll_loss", "binary_cross_entropy", "mse_loss", "multi_margin_loss"),
        *("binary_cross_entropy_with_logits",),
    }
)
_NO_OPTIMIZER = re.compile(r"sched|scaler|warm|ema|prof|bar|meter|progress", re.IGNORECASE)
MOVES = frozenset({"to", "cuda", "cpu", "train", "float", "double", "half", "requires_grad_"})


def not_here(part: Part, facts: Facts) -> NotEditable:
    """Why a part that another file built cannot be edited."""
    place = facts.elsewhere.get(part, "")
    verb = "called" if part == "loss" else "built"
    if place:
        return NotEditable(
            f"The {part} is {verb} in another file ({place}), which a copy of the script "
            "cannot change."
        )
    return NotEditable(f"The line in which the {part} is {verb} is not known.")


def optimizer_call(script: Script, facts: Facts) -> ast.Call:
    """The call that builds the optimizer."""
    line = facts.lines.get("optimizer")
    if line is None:
        raise not_here("optimizer", facts)
    over = list(_calls_over(script, line))
    named = [one for one in over if last_name(one.func) == facts.optimizer_class]
    likely = named or [one for one in over if _has_rate_or_parameters(one)]
    if not likely:
        raise NotEditable(f"Line {line} was not recognised as building an optimizer.")
    return min(likely, key=lambda one: script.end(one) - script.start(one))


def _calls_over(script: Script, line: int) -> Iterator[ast.Call]:
    return (one for one in script.walk() if one.lineno <= line <= (one.end_lineno or 0))


def _has_rate_or_parameters(call: ast.Call) -> bool:
    if any(one.arg == "lr" for one in call.keywords):
        return True
    first = call.args[0] if call.args else None
    return isinstance(first, ast.Call) and last_name(first.func) == "parameters"


def single_target(statement: ast.stmt) -> ast.Name | ast.Attribute | None:
    """What a statement assigns to, where that is one name or attribute."""
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets = [statement.target]
    found = targets[0] if targets else None
    return found if isinstance(found, (ast.Name, ast.Attribute)) else None


def owner_of_parameters(script: Script, call: ast.Call) -> str:
    """`net` where a call is given `net.parameters()`, alone or in a filter; "" otherwise."""
    first = first_argument(call)
    if first is None:
        return ""
    for one in ast.walk(first):
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute):
            owner = one.func.value
            if one.func.attr in ("parameters", "named_parameters") and isinstance(
                owner, (ast.Name, ast.Attribute)
            ):
                return script.of(owner)
    return ""


def first_argument(call: ast.Call) -> ast.expr | None:
    """What an optimizer is given; None where that is hidden behind a star."""
    if call.args:
        return None if isinstance(call.args[0], ast.Starred) else call.args[0]
    return next((one.value for one in call.keywords if one.arg == "params"), None)


# -- the loss --------------------------------------------------------------------------------------


def loss_call(script: Script, facts: Facts) -> ast.Call:
    """The call of the loss in training."""
    line = facts.lines.get("loss")
    if line is None:
        raise not_here("loss", facts)
    statement = script.statement_at(line)
    over = [one for one in _calls_over(script, line) if len(one.args) + len(one.keywords) >= 2]
    if statement is None or not over:
        raise NotEditable(f"Line {line} was not recognised as calling a loss.")
    for likely in (
        [one for one in over if last_name(one.func) in LOSS_FUNCTIONS],
        [one for one in over if loss_constructors(script, one)],
        [one for one in over if re.search(r"loss|crit|crossent|ce$", last_name(one.func), re.I)],
        [one for one in over if len(one.args) == 2],
    ):
        if likely:
            return likely[0]
    raise NotEditable(f"Line {line} was not recognised as calling a loss.")


def loss_constructors(script: Script, call: ast.Call) -> list[ast.Call]:
    """The calls that build what is called: `nn.CrossEntropyLoss(...)` of `criterion(...)`."""
    if isinstance(call.func, ast.Call):
        return [call.func] if last_name(call.func.func) in LOSS_CLASSES else []
    name = last_name(call.func)
    found = []
    for statement in script.statements():
        target = single_target(statement)
        value = getattr(statement, "value", None)
        if target is None or last_name(target) != name:
            continue
        while isinstance(value, ast.Call) and last_name(value.func) in MOVES:
            value = value.func.value if isinstance(value.func, ast.Attribute) else None
        if isinstance(value, ast.Call) and last_name(value.func) in LOSS_CLASSES:
            found.append(value)
    return found


def scores_of(call: ast.Call) -> ast.expr:
    """The loss's first argument."""
    if call.args and not isinstance(call.args[0], ast.Starred):
        return call.args[0]
    named = next((one.value for one in call.keywords if one.arg == "input"), None)
    if named is None:
        raise NotEditable("What the loss is given was not recognised.")
    return named


def targets_of(call: ast.Call) -> ast.expr:
    """The loss's second argument."""
    if len(call.args) > 1 and not isinstance(call.args[1], ast.Starred):
        return call.args[1]
    named = next((one.value for one in call.keywords if one.arg == "target"), None)
    if named is None:
        raise NotEditable("What the loss is given was not recognised.")
    return named


# -- the step --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlace:
    """The training step, as far as the script writes it itself.

    Attributes:
        scope: the function (or module) that it stands in.
        backward: `loss.backward()`; the first of its block.
        optimizer: how the optimizer is called there ("optimizer", "self.opt").
        steps: `optimizer.step()`, `scaler.step(optimizer)` of the same scope.
    """

    scope: Scope
    backward: ast.stmt
    optimizer: str
    steps: tuple[ast.Call, ...]


def step_place(script: Script, facts: Facts) -> StepPlace:
    """Where gradients are computed and the optimizer steps."""
    backward = _backward(script, facts)
    scope = script.scope_of(backward)
    inside = [one for one in script.walk() if script.scope_of(one) is scope]
    steps = tuple(one for one in inside if _stepped(script, one))
    cleared = [
        script.of(one.func.value)
        for one in inside
        if isinstance(one.func, ast.Attribute) and one.func.attr == "zero_grad"
    ]
    built = _built(script, facts, scope)
    used = [*(_stepped(script, one) for one in steps), *cleared]
    known = [*(one for one in built if one in used), *used, *built]
    if not known:
        raise NotEditable("The optimizer's name beside backward() was not recognised.")
    optimizer = known[0]
    mine = tuple(one for one in steps if _stepped(script, one) == optimizer)
    return StepPlace(scope=scope, backward=backward, optimizer=optimizer, steps=mine)


def _built(script: Script, facts: Facts, scope: Scope) -> list[str]:
    """The name that the built optimizer was given, where `scope` can see it."""
    try:
        statement = script.statement_of(optimizer_call(script, facts))
    except NotEditable:
        return []
    target = single_target(statement)
    if target is None:
        return []
    built_in = script.scope_of(statement)
    if isinstance(target, ast.Attribute):
        return [script.of(target)] if script.class_of(scope) is script.class_of(statement) else []
    return [target.id] if built_in is scope or built_in is script.tree else []


def _stepped(script: Script, call: ast.Call) -> str:
    """The optimizer of `optimizer.step()` or `scaler.step(optimizer)`; "" for other calls."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr != "step":
        return ""
    owner = script.of(call.func.value)
    if re.search("scaler|fabric|accelerator", owner, re.I) and call.args:
        return script.of(call.args[0])
    return "" if _NO_OPTIMIZER.search(owner) else owner


def _backward(script: Script, facts: Facts) -> ast.stmt:
    found = [
        script.statement_of(one)
        for one in script.walk()
        if isinstance(one.func, ast.Attribute) and one.func.attr in ("backward", "manual_backward")
    ]
    if not found:
        raise NotEditable("The script calls no backward() itself.")
    line = facts.lines.get("loss")
    statement = None if line is None else script.statement_at(line)
    if statement is not None:
        scope = script.scope_of(statement)
        near = [
            one
            for one in found
            if script.scope_of(one) is scope and script.start(one) >= script.start(statement)
        ]
        if near:
            return near[0]
    if len({script.scope_of(one) for one in found}) > 1:
        raise NotEditable("The script calls backward() in several places.")
    return found[0]


def loops_around(script: Script, node: ast.AST) -> list[ast.For | ast.AsyncFor | ast.While]:
    """The loops of the same scope, innermost first."""
    found: list[ast.For | ast.AsyncFor | ast.While] = []
    for one in script.ancestors(node):
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            break
        if isinstance(one, LOOPS):
            found.append(one)
    return found
