"""Edits that standardise what reaches the network, by the figures that were measured.

Comes in: a `Script` and `Facts`. Goes out: an `Edit`, or NotEditable with the reason. The transform
that normalises is preferred where it is sure which one that is; else they stand in the network,
where training and evaluation cannot differ: at the head of its `forward` where the script defines
it, as a hook where it does not.
"""

from __future__ import annotations

import ast

from everyclass.fixing.facts import Edit, Facts, InputFigures
from everyclass.fixing.model import method, model_class, model_place
from everyclass.fixing.normalize import in_normalize
from everyclass.fixing.source import NotEditable, Script

LEAST_SD = 1e-6
HOOK = "standardise_inputs"


def standardise(script: Script, facts: Facts) -> Edit:
    """(x - mean) / sd before the first layer."""
    figures = facts.inputs
    if figures is None:
        raise NotEditable("What reaches the first layer is not known.")
    edit = in_normalize(script, figures)
    if edit is not None:
        return edit
    owner = model_class(script, facts)
    forward = None if owner is None else method(owner, "forward")
    if forward is not None and len(forward.args.args) > 1 and not figures.layer:
        return _in_forward(script, forward, figures, facts)
    return _by_hook(script, facts, figures)


def _in_forward(
    script: Script, forward: ast.FunctionDef, figures: InputFigures, facts: Facts
) -> Edit:
    name = forward.args.args[1].arg
    body = [one for one in forward.body if not _is_docstring(one, forward)]
    if not body:
        raise NotEditable("The network's forward is empty.")
    lines = [_comment(figures), f"{name} = {_standardised(name, figures)}"]
    if len(lines[-1]) > 80:
        mean, sd = _numbers(figures)
        column = "" if len(figures.mean) == 1 else ".view(-1, 1, 1)"
        lines[1:] = [
            f"input_mean = {name}.new_tensor({mean}){column}",
            f"input_std = {name}.new_tensor({sd}){column}",
            f"{name} = ({name} - input_mean) / input_std",
        ]
        if figures.integer:
            lines.insert(1, f"{name} = {name}.float()")
    return Edit(
        sentence=f"{facts.model_class}.forward standardises its inputs by their measured "
        f"{_words(figures)}.",
        splices=(script.before(body[0], lines),),
    )


def _by_hook(script: Script, facts: Facts, figures: InputFigures) -> Edit:
    if HOOK in script.text:
        raise NotEditable(f"The script uses the name {HOOK} itself.")
    place = model_place(script, facts)
    hook = [
        f"def {HOOK}(module, inputs):",
        f"    {_comment(figures)}",
        "    x, *others = inputs",
        f"    return {_standardised('x', figures)}, *others",
    ]
    where = f'.get_submodule("{figures.layer}")' if figures.layer else ""
    call = f"{place.name}{where}.register_forward_pre_hook({HOOK})"
    lines = ["", *hook, "", call]
    sentence = f"Inputs are standardised by their measured {_words(figures)}."
    if place.built_by is not None:
        first, *others = script.lines_of(place.built_by)
        built = [f"{place.name} = {first}", *others]
        splices = (
            script.before(place.statement, [*built, *lines]),
            script.replace(place.built_by, place.name),
        )
        return Edit(sentence=sentence, splices=splices)
    insert = script.before if place.side == "before" else script.after
    return Edit(sentence=sentence, splices=(insert(place.statement, lines),))


def _is_docstring(statement: ast.stmt, function: ast.FunctionDef) -> bool:
    return statement is function.body[0] and (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _comment(figures: InputFigures) -> str:
    return f"# Standardise: inputs came with {_words(figures)}."


def _words(figures: InputFigures) -> str:
    mean = sum(figures.mean) / len(figures.mean)
    sd = sum(figures.sd) / len(figures.sd)
    about = "about " if len(figures.mean) > 1 else ""
    return f"mean {about}{mean:.3g} and standard deviation {about}{sd:.3g}"


def _numbers(figures: InputFigures) -> tuple[str, str]:
    def shown(values: tuple[float, ...]) -> str:
        texts = [f"{one:.4g}" for one in values]
        return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"

    return shown(figures.mean), shown(tuple(max(one, LEAST_SD) for one in figures.sd))


def _standardised(name: str, figures: InputFigures) -> str:
    mean, sd = _numbers(figures)
    value = f"{name}.float()" if figures.integer else name
    if len(figures.mean) == 1:
        return (
            f"({value} - {mean}) / {sd}"
            if not mean.startswith("-")
            else (f"({value} + {mean[1:]}) / {sd}")
        )
    make = "float().new_tensor" if figures.integer else "new_tensor"
    column = ".view(-1, 1, 1)"
    return f"({value} - {name}.{make}({mean}){column}) / {name}.{make}({sd}){column}"
