"""Edits of what stands between the last layer and the loss: softmax, sigmoid, ReLU.

Comes in: a `Script` and `Facts`. Goes out: an `Edit`, or NotEditable with the reason.
"""

from __future__ import annotations

import ast

from everyclass.fixing.facts import Edit, Facts
from everyclass.fixing.find import loss_call, scores_of
from everyclass.fixing.output import ACTIVATIONS, SIGMOID, SOFTMAX, Last, last_activation
from everyclass.fixing.source import (
    NotEditable,
    Script,
    Splice,
    grouped,
    last_name,
    without_argument,
)

# What the loss needs behind the last layer, as a method of a tensor and as a module.
_NEEDED = {
    "binary_cross_entropy": (".sigmoid()", "nn.Sigmoid()", SIGMOID),
    "nll_loss": (".log_softmax(dim=1)", "nn.LogSoftmax(dim=1)", frozenset({"log_softmax"})),
}


def logits_to_the_loss(script: Script, facts: Facts) -> Edit:
    """The softmax (sigmoid) taken away; where it is not found, undone in the loss."""
    binary = facts.loss == "binary_cross_entropy_with_logits"
    found = last_activation(script, facts, SIGMOID if binary else SOFTMAX)
    if found is not None:
        return Edit(
            sentence=f"{_name(found)} in line {found.node.lineno} is taken out: the loss applies "
            "it itself.",
            splices=_without(script, found),
        )
    scores = scores_of(loss_call(script, facts))
    undo = ".clamp(1e-6, 1 - 1e-6).logit()" if binary else ".clamp(min=1e-7).log()"
    text = f"{grouped(scores, script.of(scores))}{undo}"
    return Edit(
        sentence="The loss gets the logarithm of the network's probabilities, which is a logit.",
        splices=(script.replace(scores, text),),
    )


def no_last_activation(script: Script, facts: Facts) -> Edit:
    """The last activation taken away; the one that the loss needs in its place, where it does."""
    method, module, needed = _NEEDED.get(facts.loss, ("", "", frozenset[str]()))
    found = last_activation(script, facts, ACTIVATIONS - needed)
    if found is None:
        raise NotEditable("The activation behind the last layer was not found in the script.")
    if not method:
        splices, instead = _without(script, found), ""
    elif found.inner is not None:
        inner = grouped(found.inner, script.of(found.inner))
        splices = (script.replace(found.node, f"{inner}{method}"),)
        instead = f"; {method.strip('.')} stands there, which the loss needs"
    else:
        splices = (script.replace(found.node, module),)
        instead = f"; {module} stands there, which the loss needs"
    return Edit(
        sentence=f"{_name(found)} behind the last layer (line {found.node.lineno}) is taken out"
        f"{instead}.",
        splices=splices,
    )


def _name(found: Last) -> str:
    func = found.node.func
    return last_name(func.func) if isinstance(func, ast.Call) else last_name(func)


def _without(script: Script, found: Last) -> tuple[Splice, ...]:
    if found.inner is not None:
        statement = script.statement_of(found.node)
        if isinstance(statement, ast.Assign) and statement.value is found.node:
            targets = [script.of(one) for one in statement.targets]
            if targets == [script.of(found.inner)]:  # x = softmax(x)
                return (script.without(statement),)
        return (script.replace(found.node, script.of(found.inner)),)
    if isinstance(found.container, ast.Call):
        return without_argument(script, found.container, found.node)
    if isinstance(found.container, ast.List):
        return (_without_last(script, found.container),)
    return (script.without(script.statement_of(found.node)),)


def _without_last(script: Script, layers: ast.List) -> Splice:
    if len(layers.elts) == 1:
        return Splice(start=script.start(layers) + 1, end=script.end(layers) - 1, text="")
    before, last = layers.elts[-2:]
    return Splice(start=script.end(before), end=script.end(last), text="")
