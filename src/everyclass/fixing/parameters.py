"""Edits of which parameters are trained: the optimizer's first argument, its place, requires_grad.

Comes in: a `Script` and `Facts`. Goes out: an `Edit`, or NotEditable with the reason.
"""

from __future__ import annotations

import ast
import re

from everyclass.fixing.facts import Edit, Facts
from everyclass.fixing.find import first_argument, optimizer_call, owner_of_parameters
from everyclass.fixing.model import method, model_class, model_name_in, model_place
from everyclass.fixing.source import NotEditable, Script, Splice, last_name


def attach_parameters(script: Script, facts: Facts) -> Edit:
    """The optimizer over all parameters of the network, built when the network is complete."""
    call = optimizer_call(script, facts)
    statement = script.statement_of(call)
    name = _network_beside(script, facts, call)
    first = first_argument(call)
    if first is None:
        raise NotEditable("What the optimizer is given was not recognised.")
    wanted = f"{name}.parameters()"
    change = () if script.of(first) == wanted else (script.replace(first, wanted),)
    later = _last_change(script, facts, name, statement)
    if later is None:
        if not change:
            raise NotEditable(f"The optimizer is given {wanted} already, as the script has it.")
        return Edit(sentence=f"The optimizer is given {wanted}.", splices=change)
    between = script.text[script.end(statement) : script.start(later)]
    target = script.of(statement).split("=")[0].strip()
    if re.search(rf"\b{re.escape(target)}\b", between):
        raise NotEditable(
            f"The optimizer is used before line {later.lineno} changes the network, so that it "
            "cannot be built after it."
        )
    moved = "\n".join(script.lines_of(statement))
    moved = moved.replace("\n".join(script.lines_of(first)), wanted, 1)
    return Edit(
        sentence=f"The optimizer is built after line {later.lineno}, which changes the network, "
        f"over {wanted}.",
        splices=(script.without(statement), script.after(later, moved.split("\n"))),
    )


def _network_beside(script: Script, facts: Facts, call: ast.Call) -> str:
    """How the network is called where the optimizer is built."""
    owner = script.class_of(call)
    if owner is not None and (
        owner is model_class(script, facts) or method(owner, "configure_optimizers") is not None
    ):
        return "self"
    given = owner_of_parameters(script, call).split(".")
    scope = script.scope_of(call)
    if isinstance(scope, ast.FunctionDef) and given[0] in {one.arg for one in scope.args.args}:
        return ".".join(given[:2]) if given[0] == "self" else given[0]
    name = model_name_in(script, facts, scope)
    if not name:
        raise NotEditable("How the network is called beside the optimizer was not recognised.")
    return name


def _last_change(script: Script, facts: Facts, name: str, statement: ast.stmt) -> ast.stmt | None:
    """The last statement behind the optimizer's, in its block, that builds the network or a part
    of it again.
    """
    found = None
    for one in script.block_of(statement):
        if script.start(one) <= script.start(statement) or not isinstance(one, ast.Assign):
            continue
        if not any(isinstance(part, ast.Call) for part in ast.walk(one.value)):
            continue
        targets = [script.of(target) for target in one.targets]
        whole = name in targets and name not in re.findall(r"[\w.]+", script.of(one.value))
        if whole or any(target.startswith(f"{name}.") for target in targets):
            found = one
    return found


def unfreeze(script: Script, facts: Facts) -> Edit:
    """requires_grad True wherever the script sets it on the network, and all in the optimizer."""
    frozen = _freezing(script, facts)
    if frozen:
        splices = [script.replace(one, "True") for one in frozen]
        lines = ", ".join(str(one.lineno) for one in frozen)
        sentence = f"No parameter is frozen any more (line {lines})."
    else:
        place = model_place(script, facts)
        if place.built_by is not None:
            raise NotEditable("The network is returned as it is built.")
        line = (f"{place.name}.requires_grad_(True)",)
        insert = script.before if place.side == "before" else script.after
        splices = [insert(place.statement, line)]
        sentence = "No parameter is frozen any more."
    return Edit(sentence=sentence, splices=(*splices, *_whole_network(script, facts)))


def _freezing(script: Script, facts: Facts) -> list[ast.expr]:
    """The values that freeze parameters of the network, in the order of the text."""
    owner = model_class(script, facts)
    found: list[ast.expr] = []
    for node in ast.walk(script.tree):
        value: ast.expr | None = None
        if isinstance(node, ast.Assign) and last_name(node.targets[0]) == "requires_grad":
            value, subject = node.value, script.of(node.targets[0])
        elif isinstance(node, ast.Call) and last_name(node.func) == "requires_grad_":
            value, subject = (node.args[0] if node.args else None), script.of(node.func)
        if value is None or (isinstance(value, ast.Constant) and value.value is True):
            continue
        scope = script.scope_of(node)
        name = "self" if owner and script.class_of(node) is owner else None
        name = name or model_name_in(script, facts, scope) or "model"
        whose = [subject, *(script.of(loop.iter) for loop in _for_loops(script, node))]
        if any(re.search(rf"\b{re.escape(name)}\b", one) for one in whose):
            found.append(value)
    return sorted(found, key=script.start)


def _for_loops(script: Script, node: ast.AST) -> list[ast.For]:
    return [one for one in script.ancestors(node) if isinstance(one, ast.For)]


def _whole_network(script: Script, facts: Facts) -> tuple[Splice, ...]:
    """All parameters for an optimizer that was given a part of the network."""
    try:
        call = optimizer_call(script, facts)
        name = _network_beside(script, facts, call)
    except NotEditable:
        return ()
    first = first_argument(call)
    if first is None or owner_of_parameters(script, call) == name:
        return ()
    return (script.replace(first, f"{name}.parameters()"),)
