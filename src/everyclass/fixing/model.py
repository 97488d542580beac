"""Where a script builds its network, and how it is called where.

Comes in: a `Script` and `Facts`. Goes out: a `ModelPlace`, a class, a name; NotEditable with the
reason where the place is not in the script or not the only one. Edits nothing.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Literal, TypeGuard

from everyclass.fixing.facts import Facts
from everyclass.fixing.find import (
    LOSS_CLASSES,
    MOVES,
    not_here,
    optimizer_call,
    owner_of_parameters,
    single_target,
)
from everyclass.fixing.source import NotEditable, Scope, Script, last_name

_WRAPPERS = frozenset({"DataParallel", "DistributedDataParallel", "compile"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlace:
    """Where a line that speaks of the network can be inserted.

    Attributes:
        name: of the network there ("model", "self.net").
        statement: beside which.
        side: of the statement.
        built_by: the expression that is returned, where a function returns the network at once.
    """

    name: str
    statement: ast.stmt
    side: Literal["before", "after"] = "after"
    built_by: ast.expr | None = None


def model_place(script: Script, facts: Facts) -> ModelPlace:
    """Right after the network was built; else right before the optimizer that takes it."""
    line = facts.lines.get("model")
    statement = None if line is None else script.statement_at(line)
    if statement is not None:
        target = single_target(statement)
        value = getattr(statement, "value", None)
        holder = _holder(script, value, facts)
        if holder is not None:
            return _held_by(script, holder, facts)
        if target is not None and _builds(value, facts.model_class):
            return ModelPlace(name=script.of(target), statement=statement)
        if isinstance(statement, ast.Return) and _builds(value, facts.model_class):
            return _called_for(script, statement) or ModelPlace(
                name="model", statement=statement, built_by=statement.value
            )
    try:
        call = optimizer_call(script, facts)
    except NotEditable:
        raise not_here("model", facts) from None
    name = owner_of_parameters(script, call)
    if not name:
        raise not_here("model", facts)
    return ModelPlace(name=name, statement=script.statement_of(call), side="before")


def _holder(script: Script, value: ast.expr | None, facts: Facts) -> ast.ClassDef | None:
    """The script's class that is built, where it is not the network's: the network is a part of it.

    Of a network built in somebody's `__init__`, the line that builds that object is what is known.
    """
    built = {last_name(one.func) for one in ast.walk(value or ast.Pass()) if _called(one)}
    if facts.model_class in built:
        return None
    found = [
        one for one in ast.walk(script.tree) if isinstance(one, ast.ClassDef) and one.name in built
    ]
    return found[0] if len(found) == 1 and found[0].name != facts.model_class else None


def _called(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call)


def _held_by(script: Script, holder: ast.ClassDef, facts: Facts) -> ModelPlace:
    """The part of the holder that is called beside the loss."""
    line = facts.lines.get("loss")
    statement = None if line is None else script.statement_at(line)
    scope = None if statement is None else script.scope_of(statement)
    called = {
        script.of(one.func)
        for one in script.walk()
        if script.scope_of(one) is scope and script.of(one.func).startswith("self.")
    }
    parts = [
        (script.of(target), one)
        for one in script.statements()
        if script.class_of(one) is holder
        and (target := single_target(one)) is not None
        and script.of(target) in called
        and _builds(getattr(one, "value", None), facts.model_class)
        and not _a_loss(getattr(one, "value", None))
    ]
    if len({name for name, _ in parts}) != 1:
        raise NotEditable(f"Which part of {holder.name} is the network was not recognised.")
    name, built = parts[-1]
    return ModelPlace(name=name, statement=built)


def _a_loss(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Call) and last_name(value.func) in LOSS_CLASSES


def _called_for(script: Script, returned: ast.Return) -> ModelPlace | None:
    """Where the script calls the function that returns the network, under one name."""
    function = script.scope_of(returned)
    if not isinstance(function, ast.FunctionDef):
        return None
    calls = []
    for one in script.statements():
        target, value = single_target(one), getattr(one, "value", None)
        if target is None or not isinstance(value, ast.expr) or not _builds(value, function.name):
            continue
        inside = [part for part in ast.walk(value) if isinstance(part, ast.Call)]
        if any(last_name(part.func) == function.name for part in inside):
            calls.append((script.of(target), one))
    if len({name for name, _ in calls}) != 1:
        return None
    name, statement = calls[-1]
    return ModelPlace(name=name, statement=statement)


def _builds(value: ast.expr | None, model_class: str) -> bool:
    """Whether an expression is the network, not something that was given one."""
    wrapped = False
    while isinstance(value, ast.Call):
        name = last_name(value.func)
        if isinstance(value.func, ast.Attribute) and name in MOVES:
            value = value.func.value
        elif name in _WRAPPERS and value.args:
            value, wrapped = value.args[0], True
        else:
            inside = [one for one in ast.walk(value) if isinstance(one, ast.Call)]
            named = [one for one in inside if last_name(one.func) == model_class]
            return not named or named[0] is value
    return wrapped and isinstance(value, (ast.Name, ast.Attribute))


def model_class(script: Script, facts: Facts) -> ast.ClassDef | None:
    """The class of the network, where the script defines it."""
    found = [
        one
        for one in ast.walk(script.tree)
        if isinstance(one, ast.ClassDef) and one.name == facts.model_class
    ]
    return found[0] if len(found) == 1 else None


def method(owner: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    """A method that the class defines itself."""
    return next(
        (one for one in owner.body if isinstance(one, ast.FunctionDef) and one.name == name), None
    )


def model_name_in(script: Script, facts: Facts, scope: Scope) -> str:
    """How the network is called in a scope; "" where that is not sure."""
    try:
        place = model_place(script, facts)
    except NotEditable:
        return ""
    where = script.scope_of(place.statement)
    if place.built_by is not None:
        return ""
    if place.name.startswith("self."):
        same = script.class_of(scope) is script.class_of(place.statement)
        return place.name if same else ""
    if where is scope or (where is script.tree and place.name not in _bound_in(scope)):
        return place.name
    return ""


def _bound_in(scope: Scope) -> set[str]:
    """Names that a function binds itself, by parameters and assignments."""
    names = {one.arg for one in ast.walk(scope) if isinstance(one, ast.arg)}
    return names | {
        one.id
        for one in ast.walk(scope)
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
    }
