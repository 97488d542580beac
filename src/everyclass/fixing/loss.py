"""Edits of the loss: weights, smoothing, the prior, what it is given.

Comes in: a `Script` and `Facts`. Goes out: an `Edit`, or NotEditable with the reason.
"""

from __future__ import annotations

import ast
import math

from everyclass.fixing.facts import Edit, Facts
from everyclass.fixing.find import (
    LOSS_CLASSES,
    LOSS_FUNCTIONS,
    loss_call,
    loss_constructors,
    scores_of,
    targets_of,
)
from everyclass.fixing.imports import torch_named
from everyclass.fixing.source import (
    NotEditable,
    Script,
    Splice,
    grouped,
    keyword,
    last_name,
    without_argument,
)

PRIOR_NAME = "LOG_PRIOR"
NUMBERS_A_LINE = 10


def without_weights(script: Script, facts: Facts) -> Edit:
    """The loss without class weights."""
    return _without(
        script, facts, ("weight", "pos_weight"), "Class weights are taken out of the loss."
    )


def balanced_weights(script: Script, facts: Facts) -> Edit:
    """Class weights in inverse proportion to the class frequencies, in place of those given."""
    if not facts.log_prior:
        raise NotEditable("The class frequencies are not known.")
    call = loss_call(script, facts)
    given = [
        found.value
        for one in (call, *loss_constructors(script, call))
        if (found := keyword(one, "weight")) is not None
    ]
    if not given:
        raise NotEditable("Where the loss gets its weight was not recognised.")
    counts = len(facts.log_prior)
    weights = ", ".join(f"{math.exp(-one) / counts:.4g}" for one in facts.log_prior)
    return Edit(
        sentence="Class weights are inversely proportional to each class's share of the labels.",
        splices=(
            *(script.replace(one, f"torch.tensor([{weights}])") for one in given),
            *torch_named(script),
        ),
    )


def without_smoothing(script: Script, facts: Facts) -> Edit:
    """The loss without label smoothing."""
    return _without(
        script, facts, ("label_smoothing",), "Label smoothing is taken out of the loss."
    )


def _without(script: Script, facts: Facts, names: tuple[str, ...], sentence: str) -> Edit:
    call = loss_call(script, facts)
    built = loss_constructors(script, call)
    if not built and last_name(call.func) not in LOSS_FUNCTIONS:
        # Handed on under another name: then the only one that the script builds.
        every = [one for one in script.walk() if last_name(one.func) in LOSS_CLASSES]
        built = every if len(every) == 1 else []
    splices: list[Splice] = []
    for one in (call, *built):
        positional = 2 if last_name(one.func) in LOSS_FUNCTIONS else 0
        given: list[ast.expr | ast.keyword] = [
            found for name in names if (found := keyword(one, name))
        ]
        if one is call and positional == 0:
            given = []  # criterion(outputs, targets): its weights are where it was built
        elif "weight" in names and len(one.args) > positional:
            given.append(one.args[positional])
        for argument in given:
            splices += without_argument(script, one, argument)
    if not splices:
        raise NotEditable(f"Where the loss gets its {names[0]} was not recognised.")
    return Edit(sentence=sentence, splices=tuple(splices))


def prior_corrected(script: Script, facts: Facts) -> Edit:
    """ln of the class frequencies added to the logits that the loss is given in training."""
    if not facts.log_prior:
        raise NotEditable("The class frequencies are not known.")
    call = loss_call(script, facts)
    scores = scores_of(call)
    if PRIOR_NAME in script.text:
        raise NotEditable(f"The script uses the name {PRIOR_NAME} itself.")
    extra: tuple[Splice, ...] = ()
    name = script.of(scores)
    if not isinstance(scores, (ast.Name, ast.Attribute)):
        name = "scores"
        extra = (_named_before(script, call, scores, name),)
    changed = f"{name} + {name}.new_tensor({PRIOR_NAME})"
    if facts.loss == "nll_loss":
        changed = f"({changed}).log_softmax(dim=1)"
    return Edit(
        sentence="The loss gets the logits plus ln of each class's share of the labels (logit "
        "adjustment, Menon et al. 2021); predictions stay those of the plain logits.",
        splices=(_constant(script, facts), *extra, script.replace(scores, changed)),
    )


def _named_before(script: Script, call: ast.Call, value: ast.expr, name: str) -> Splice:
    """An expression computed in a statement of its own before the one that uses it."""
    statement = script.statement_of(call)
    around = [one for one in script.ancestors(call) if not isinstance(one, ast.stmt)]
    lazy = (ast.Lambda, ast.IfExp, ast.BoolOp, ast.GeneratorExp, ast.ListComp)
    plain = isinstance(statement, (ast.Assign, ast.AugAssign, ast.Return, ast.Expr, ast.AnnAssign))
    if not plain or any(isinstance(one, lazy) for one in around):
        raise NotEditable("The loss is called inside a longer expression.")
    taken = {one.id for one in ast.walk(script.scope_of(call)) if isinstance(one, ast.Name)}
    if name in taken:
        raise NotEditable(f"The name {name} is taken where the loss is called.")
    return script.before(statement, (f"{name} = {script.of(value)}",))


def _constant(script: Script, facts: Facts) -> Splice:
    """The prior as a list of numbers, behind the imports at the head."""
    numbers = [f"{one:.4f}" for one in facts.log_prior]
    if len(numbers) <= NUMBERS_A_LINE:
        lines = [f"{PRIOR_NAME} = [{', '.join(numbers)}]"]
    else:
        rows = [numbers[k : k + NUMBERS_A_LINE] for k in range(0, len(numbers), NUMBERS_A_LINE)]
        lines = [f"{PRIOR_NAME} = [", *(f"    {', '.join(row)}," for row in rows), "]"]
    note = "# ln of each class's share of the training labels, in the order of the outputs."
    imports = [one for one in script.tree.body if isinstance(one, (ast.Import, ast.ImportFrom))]
    head = imports[:1]
    for one in imports[1:]:
        if script.tree.body.index(one) == script.tree.body.index(head[-1]) + 1:
            head.append(one)
    if not head:
        raise NotEditable("The script imports nothing at its head.")
    return script.after(head[-1], ["", note, *lines])


def log_softmax_added(script: Script, facts: Facts) -> Edit:
    """log_softmax over the classes between the network's output and `nll_loss`."""
    if facts.loss != "nll_loss":
        raise NotEditable("The loss is not nll_loss: it takes something else.")
    scores = scores_of(loss_call(script, facts))
    return Edit(
        sentence="The loss gets the log_softmax of the outputs.",
        splices=(
            script.replace(scores, f"{grouped(scores, script.of(scores))}.log_softmax(dim=1)"),
        ),
    )


def targets_in_shape(script: Script, facts: Facts) -> Edit:
    """Targets in the shape of the outputs."""
    call = loss_call(script, facts)
    scores, targets = scores_of(call), targets_of(call)
    if not isinstance(scores, (ast.Name, ast.Attribute)):
        raise NotEditable("The outputs have no name where the loss is called.")
    shaped = f"{grouped(targets, script.of(targets))}.view_as({script.of(scores)})"
    same = [one for one in script.walk() if script.of(one) == script.of(call)]  # in evaluation too
    return Edit(
        sentence="The loss gets the targets in the shape of the outputs.",
        splices=tuple(script.replace(targets_of(one), shaped) for one in same),
    )
