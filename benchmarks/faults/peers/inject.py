"""A training script with the places marked where a user would write a peer's calls.

Comes in: the text of a script. Goes out: the same text with two insertions in its training step:

- before the forward pass, a function made of the script's own lines between the network's output
  and the loss (what a user would hand over as `loss_fn`), and
  `_watcher.batch(network, inputs, targets, that function)`;
- before the backward pass (in Lightning: before `training_step` returns), `_watcher.loss(loss)`.

Nothing else changes, and neither call draws a random number. Knows nothing of torch and of peers:
whoever runs the text puts a `_watcher` into its globals.
"""

from __future__ import annotations

import ast
import copy
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NETWORKS = frozenset({"model", "net", "network", "classifier"})
WATCHER = "_watcher"
LOSS_FUNCTION = "_loss_of"
OUTPUT = "_network_output"
BOOKKEEPING = frozenset({"zero_grad", "step", "train", "eval", "append", "update"})
"""Methods whose calls, as statements of their own, are no part of the loss."""


class UnknownLoop(Exception):
    """The script has no training step of a form that is known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """Where the training step is.

    Attributes:
        statements: from the forward pass to before the backward pass.
        backward: the statement that calls `backward`, or that returns the loss.
        call: the network's call.
        targets: name of the labels.
        loss: name of the loss.
    """

    statements: tuple[ast.stmt, ...]
    backward: ast.stmt
    call: ast.Call
    targets: str
    loss: str


def with_calls(text: str) -> str:
    """The script with the calls.

    Raises:
        UnknownLoop: as its message says.
    """
    step = training_step(ast.parse(text))
    network = ast.unparse(step.call.func)
    inputs = ast.unparse(step.call.args[0])
    function = _loss_function(step)
    batch = f"{WATCHER}.batch({network}, lambda: {inputs}, {step.targets}, {LOSS_FUNCTION})"
    lines = text.split("\n")
    first = step.statements[0]
    # The later place first: line numbers before it stay as they are.
    _insert(lines, step.backward, f"{WATCHER}.loss({step.loss})")
    _insert(lines, first, f"{function}\n{batch}")
    result = "\n".join(lines)
    compile(result, "script.py", "exec")
    return result


def training_step(tree: ast.Module) -> TrainingStep:
    """The innermost loop (or function, or Lightning's `training_step`) that trains.

    Raises:
        UnknownLoop: there is none.
    """
    loops = [node for node in ast.walk(tree) if isinstance(node, (ast.For, ast.While))]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for node in [*reversed(loops), *functions]:
        found = _forward_to_backward(node.body, within=node)
        if found is not None:
            return found
    raise UnknownLoop(
        "no loop and no function calls a network named "
        f"{', '.join(sorted(NETWORKS))} and then a loss's backward()"
    )


def _forward_to_backward(
    body: Sequence[ast.stmt], *, within: ast.For | ast.While | ast.FunctionDef
) -> TrainingStep | None:
    lightning = isinstance(within, ast.FunctionDef) and within.name == "training_step"
    networks = NETWORKS | {"self"} if lightning else NETWORKS
    forward = next((i for i, one in enumerate(body) if _network_call(one, networks)), None)
    if forward is None:
        return None
    for i in range(forward, len(body)):
        backward = _returned(body[i]) if lightning else _backward(body[i])
        if backward is None:
            continue
        if i == forward:  # both inside one `with` or `if`
            inner = getattr(body[i], "body", None)
            return _forward_to_backward(inner, within=within) if inner else None
        call = _network_call(body[forward], networks)
        assert call is not None
        statements = tuple(body[forward:i])
        targets = _targets(within, body[:forward], call)
        loss = _loss_name(backward, statements)
        if not call.args or targets is None or loss is None:
            return None
        return TrainingStep(
            statements=statements, backward=backward, call=call, targets=targets, loss=loss
        )
    return None


def _network_call(node: ast.AST, networks: frozenset[str]) -> ast.Call | None:
    """The first call of a network inside the node."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call):
            called = inner.func
            name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            if name in networks:
                return inner
    return None


def _backward(statement: ast.stmt) -> ast.stmt | None:
    """The statement within that calls `backward`."""
    for inner in ast.walk(statement):
        if (
            isinstance(inner, ast.Expr)
            and isinstance(inner.value, ast.Call)
            and isinstance(inner.value.func, ast.Attribute)
            and inner.value.func.attr == "backward"
        ):
            return inner
    return None


def _returned(statement: ast.stmt) -> ast.stmt | None:
    return statement if isinstance(statement, ast.Return) and statement.value else None


def _targets(
    within: ast.For | ast.While | ast.FunctionDef, before: Sequence[ast.stmt], call: ast.Call
) -> str | None:
    """The second name of the last pair whose first goes into the network."""
    fed = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)}
    places: list[ast.AST] = [within.target] if isinstance(within, ast.For) else []
    places += [target for one in before for target in getattr(one, "targets", ())]
    found = None
    for place in places:
        for node in ast.walk(place):
            if isinstance(node, ast.Tuple) and all(isinstance(e, ast.Name) for e in node.elts):
                names = [e.id for e in node.elts if isinstance(e, ast.Name)]
                if len(names) == 2 and names[0] in fed:
                    found = names[1]
    return found


def _loss_name(backward: ast.stmt, statements: Sequence[ast.stmt]) -> str | None:
    """The name, assigned since the forward pass, that is propagated back."""
    assigned = {name for one in statements for name in _assigned(one)}
    value = backward.value if isinstance(backward, (ast.Expr, ast.Return)) else None
    named = [n.id for n in ast.walk(value) if isinstance(n, ast.Name)] if value else []
    return next((name for name in named if name in assigned), None)


def _assigned(statement: ast.AST) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _loss_function(step: TrainingStep) -> str:
    """The script's lines from output to loss, as a function of output and targets."""
    assigned: set[str] = set()
    body: list[ast.stmt] = []
    for statement in step.statements:
        if _bookkeeping(statement, assigned):
            continue
        assigned |= set(_assigned(statement))
        body.append(_OutputForCall(step.call).visit(copy.deepcopy(statement)))
    lines = "\n".join(ast.unparse(ast.fix_missing_locations(statement)) for statement in body)
    head = f"def {LOSS_FUNCTION}({OUTPUT}, {step.targets}):"
    return f"{head}\n{textwrap.indent(lines, '    ')}\n    return {step.loss}"


def _bookkeeping(statement: ast.stmt, assigned: set[str]) -> bool:
    """Whether it is no part of the loss: counters, prints, `zero_grad()`."""
    if isinstance(statement, ast.AugAssign):
        return isinstance(statement.target, ast.Name) and statement.target.id not in assigned
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        called = statement.value.func
        if isinstance(called, ast.Name):
            return called.id == "print"
        return isinstance(called, ast.Attribute) and called.attr in BOOKKEEPING
    # Lightning's counting of predictions, and the like: a loop makes no loss here.
    return isinstance(statement, ast.For)


class _OutputForCall(ast.NodeTransformer):
    """Puts the function's parameter in place of the network's call."""

    def __init__(self, call: ast.Call) -> None:
        self.call = ast.dump(call)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if ast.dump(node) == self.call:
            return ast.Name(id=OUTPUT, ctx=ast.Load())
        return self.generic_visit(node)


def _insert(lines: list[str], before: ast.stmt, text: str) -> None:
    indented = textwrap.indent(text, " " * before.col_offset)
    lines[before.lineno - 1 : before.lineno - 1] = indented.split("\n")
