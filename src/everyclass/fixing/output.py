"""What stands behind a network's last layer: followed from the loss back to where it is applied.

Comes in: a `Script` and `Facts`. Goes out: a `Last`, the activation as a node that can be taken
away; None where the path is lost. Follows names, methods, `forward`, nn.Sequential and lists of
layers, within one file. Edits nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from dataclasses import dataclass

from everyclass.fixing.facts import Facts
from everyclass.fixing.find import loss_call, scores_of
from everyclass.fixing.model import method, model_class, model_place
from everyclass.fixing.source import LOOPS, NotEditable, Script, last_name

SOFTMAX = frozenset({"softmax", "Softmax", "Softmax2d"})
SIGMOID = frozenset({"sigmoid", "Sigmoid"})
ACTIVATIONS = frozenset(
    {
        *SOFTMAX,
        *SIGMOID,
        *("relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "tanh"),
        *("clamp", "clip", "softplus", "hardtanh", "hardsigmoid", "log_softmax"),
        *("ReLU", "ReLU6", "LeakyReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Tanh"),
        *("Softplus", "Hardtanh", "Hardsigmoid", "LogSoftmax"),
    }
)
_SHAPES = frozenset(
    {"squeeze", "view", "flatten", "reshape", "float", "contiguous", "to", "double"}
)
_NAMESPACES = frozenset({"F", "torch", "functional", "special", "nn", "fn"})
MOST_HOPS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """An activation behind the last layer.

    Attributes:
        node: the call that applies it, or the module in a list of layers.
        inner: what it is applied to; None for a module.
        container: the call or list that holds the module; None for an applied one.
    """

    node: ast.Call
    inner: ast.expr | None = None
    container: ast.Call | ast.List | None = None


def last_activation(script: Script, facts: Facts, kinds: Collection[str]) -> Last | None:
    """The activation of one of the kinds whose output the loss gets."""
    trail = _Trail(script, facts, frozenset(kinds))
    try:
        call = loss_call(script, facts)
    except NotEditable:
        found = trail.of_model()
    else:
        found = trail.follow(scores_of(call)) or trail.of_model()
    return found or _head_sequential(script, facts, trail)


class _Trail:
    """Follows an output back to what computed it."""

    def __init__(self, script: Script, facts: Facts, kinds: frozenset[str]) -> None:
        self._script = script
        self._facts = facts
        self._kinds = kinds
        self._hops = 0

    def follow(self, node: ast.expr | None) -> Last | None:
        """The activation that an expression ends in."""
        self._hops += 1
        if node is None or self._hops > MOST_HOPS:
            return None
        if isinstance(node, ast.Tuple):
            return self.follow(node.elts[0]) if node.elts else None
        if isinstance(node, ast.Dict):
            named = [v for k, v in zip(node.keys, node.values) if _is_text(k, "logits")]
            return self.follow(named[0]) if named else None
        if isinstance(node, ast.Name):
            return self.follow(self._assigned(node))
        return self._call(node) if isinstance(node, ast.Call) else None

    def of_model(self) -> Last | None:
        """What the network returns."""
        owner = model_class(self._script, self._facts)
        if owner is not None:
            return self._forward(owner)
        try:
            place = model_place(self._script, self._facts)
        except NotEditable:
            return None
        return None if place.side == "before" else self.module(_value(place.statement))

    def module(self, node: ast.expr | None) -> Last | None:
        """The activation that a module, as an expression, ends in."""
        self._hops += 1
        if self._hops > MOST_HOPS:
            return None
        if isinstance(node, ast.Name):
            return self.module(self._assigned(node))
        if not isinstance(node, ast.Call):
            return None
        name = last_name(node.func)
        if name == "Sequential":
            return self._sequential(node)
        if isinstance(node.func, ast.Attribute) and name in ("to", "cuda", "train", "apply"):
            return self.module(node.func.value)
        owner = self._class(name)
        return None if owner is None else self._forward(owner)

    def _call(self, node: ast.Call) -> Last | None:
        func = node.func
        name = last_name(func)
        if name in self._kinds and name.islower():
            owner = func.value if isinstance(func, ast.Attribute) else None
            if owner is None or last_name(owner) in _NAMESPACES:  # F.softmax(x, dim=1)
                return Last(node=node, inner=node.args[0]) if node.args else None
            if last_name(owner) != "self":  # x.softmax(1)
                return Last(node=node, inner=owner)
        if isinstance(func, ast.Call):  # nn.Softmax(dim=1)(x)
            applied = last_name(func.func) in self._kinds and node.args
            return Last(node=node, inner=node.args[0]) if applied else None
        if isinstance(func, ast.Attribute) and name in _SHAPES:
            inner = node.args[0] if last_name(func.value) in _NAMESPACES else func.value
            return self.follow(inner)
        return self._of_callee(node, func)

    def _of_callee(self, node: ast.Call, func: ast.expr) -> Last | None:
        """The activation of what a network, a part of one or a function of the script returns."""
        owner = self._script.class_of(node)
        if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and owner:
            if func.value.id != "self":
                return self.of_model() if func.attr == "forward" else None
            if func.attr == "forward":
                return self._forward(owner)
            own = method(owner, func.attr)
            if own is not None:
                return self._returned(own)
            built = self._attribute(owner, func.attr)
            if isinstance(built, ast.Call) and last_name(built.func) in self._kinds and node.args:
                return Last(node=node, inner=node.args[0])
            return self.module(built) if built is not None else self.of_model()
        if isinstance(func, ast.Name):
            if func.id == "self" and owner is not None:
                return self._forward(owner)
            for one in self._script.tree.body:
                if isinstance(one, ast.FunctionDef) and one.name == func.id:
                    return self._returned(one)
            return self.of_model()
        return None

    def _forward(self, owner: ast.ClassDef) -> Last | None:
        forward = method(owner, "forward")
        return None if forward is None else self._returned(forward)

    def _returned(self, function: ast.FunctionDef) -> Last | None:
        self._hops += 1
        if self._hops > MOST_HOPS:
            return None
        found = [
            self.follow(one.value)
            for one in ast.walk(function)
            if isinstance(one, ast.Return) and self._script.scope_of(one) is function
        ]
        return found[0] if len(found) == 1 else None

    def _assigned(self, name: ast.Name) -> ast.expr | None:
        """The value that a name was given last before it is used, in its scope."""
        script, found = self._script, None
        scope, use = script.scope_of(name), script.start(script.statement_of(name))
        for one in script.statements():
            if script.start(one) >= use or script.scope_of(one) is not scope:
                continue
            if isinstance(one, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == name.id for target in one.targets
            ):
                found = one.value
        return found

    def _attribute(self, owner: ast.ClassDef, name: str) -> ast.expr | None:
        found = [
            one.value
            for one in ast.walk(owner)
            if isinstance(one, ast.Assign)
            and any(
                isinstance(target, ast.Attribute) and self._script.of(target) == f"self.{name}"
                for target in one.targets
            )
        ]
        return found[-1] if found else None

    def _class(self, name: str) -> ast.ClassDef | None:
        found = [
            one
            for one in ast.walk(self._script.tree)
            if isinstance(one, ast.ClassDef) and one.name == name
        ]
        return found[0] if len(found) == 1 else None

    # -- lists of layers ---------------------------------------------------------------------------

    def _sequential(self, node: ast.Call) -> Last | None:
        if not node.args:
            return None
        last = node.args[-1]
        if isinstance(last, ast.Starred):
            return self._layers(last.value)
        if isinstance(last, ast.Call) and last_name(last.func) == "OrderedDict" and last.args:
            return self._named_layers(last.args[0])
        return self._element(last, node)

    def _element(self, last: ast.expr, container: ast.Call | ast.List) -> Last | None:
        if isinstance(last, ast.Call) and last_name(last.func) in self._kinds:
            return Last(node=last, container=container)
        return self.module(last)

    def _named_layers(self, node: ast.expr) -> Last | None:
        pair = node.elts[-1] if isinstance(node, ast.List) and node.elts else None
        if not isinstance(node, ast.List) or not isinstance(pair, ast.Tuple):
            return None
        last = pair.elts[-1]
        inside = isinstance(last, ast.Call) and last_name(last.func) in self._kinds
        return Last(node=last, container=node) if inside and isinstance(last, ast.Call) else None

    def _layers(self, node: ast.expr) -> Last | None:
        """The last element of a list that a function fills: by [...], +=, append or extend."""
        if isinstance(node, ast.List):
            return self._element(node.elts[-1], node) if node.elts else None
        if not isinstance(node, ast.Name):
            return None
        script = self._script
        scope, use = script.scope_of(node), script.start(script.statement_of(node))
        found: tuple[ast.stmt, ast.expr] | None = None
        for one in script.statements():
            if script.start(one) < use and script.scope_of(one) is scope:
                added = _added(one, node.id)
                found = found if added is None else (one, added)
        if found is None or any(isinstance(one, LOOPS) for one in script.ancestors(found[0])):
            return None
        added = found[1]
        if isinstance(added, ast.List):
            return self._element(added.elts[-1], added) if added.elts else None
        inside = isinstance(added, ast.Call) and last_name(added.func) in self._kinds
        return Last(node=added) if inside and isinstance(added, ast.Call) else None


def _added(statement: ast.stmt, name: str) -> ast.expr | None:
    """What a statement puts at the end of a list of that name."""
    if isinstance(statement, ast.Assign) and last_name(statement.targets[0]) == name:
        return statement.value
    if isinstance(statement, ast.AugAssign) and last_name(statement.target) == name:
        return statement.value
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or not call.args:
        return None
    fills = last_name(call.func.value) == name and call.func.attr in ("append", "extend")
    return call.args[0] if fills else None


def _head_sequential(script: Script, facts: Facts, trail: _Trail) -> Last | None:
    """Of `model.fc = nn.Sequential(nn.Linear(...), nn.Softmax())`, with `fc.0` the last layer."""
    names = facts.head.split(".")
    values = [
        one.value
        for one in script.statements()
        if isinstance(one, ast.Assign)
        and isinstance(one.targets[0], ast.Attribute)
        and one.targets[0].attr in names
    ]
    found = [last for value in values if (last := trail.module(value)) is not None]
    return found[0] if len(found) == 1 else None


def _value(statement: ast.stmt) -> ast.expr | None:
    value = getattr(statement, "value", None)
    return value if isinstance(value, ast.expr) else None


def _is_text(node: ast.expr | None, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text
