"""Edits of the training step: gradients cleared, a step taken, gradients clipped.

Comes in: a `Script` and `Facts`. Goes out: an `Edit`, or NotEditable with the reason.
"""

from __future__ import annotations

import ast

from everyclass.fixing.facts import Edit, Facts
from everyclass.fixing.find import StepPlace, loops_around, step_place
from everyclass.fixing.imports import imports_lightning, torch_named
from everyclass.fixing.model import model_name_in
from everyclass.fixing.source import (
    NotEditable,
    Script,
    Splice,
    keyword,
    last_name,
    with_keyword,
)

CLIP_NORM = "1.0"


def clear_gradients(script: Script, facts: Facts) -> Edit:
    """zero_grad() before backward(); behind the step, where gradients are meant to add up."""
    place = step_place(script, facts)
    line = f"{place.optimizer}.zero_grad()"
    together = [one for one in place.steps if _same_block(script, one, place.backward)]
    if together or not place.steps:
        splice = script.before(place.backward, (line,))
        where = f"before backward() in line {place.backward.lineno}"
    else:
        step = script.statement_of(place.steps[0])
        splice = script.after(step, (line,))
        where = f"after the step in line {step.lineno}"
    return Edit(sentence=f"Gradients are cleared {where}.", splices=(splice,))


def _same_block(script: Script, step: ast.Call, backward: ast.stmt) -> bool:
    return script.statement_of(step) in script.block_of(backward)


def step_every_pass(script: Script, facts: Facts) -> Edit:
    """A step behind each backward(): out of an `if` that is hardly ever true, or a new one."""
    place = step_place(script, facts)
    if any(_same_block(script, one, place.backward) for one in place.steps):
        raise NotEditable(
            "The script does call step() after backward(); what keeps it from acting is elsewhere."
        )
    around = _rare_condition(script, place)
    if around is not None:
        return Edit(
            sentence=f"The step is taken after each backward(), not only where line "
            f"{around.lineno} says.",
            splices=(_unwrapped(script, around),),
        )
    lines = [f"{place.optimizer}.step()"]
    if not _cleared_in_block(script, place):
        lines.append(f"{place.optimizer}.zero_grad()")
    splices = [script.after(place.backward, lines)]
    splices += [script.without(one) for one in _stray_steps(script, place)]
    return Edit(
        sentence=f"{place.optimizer}.step() is called after each backward().",
        splices=tuple(splices),
    )


def _rare_condition(script: Script, place: StepPlace) -> ast.If | None:
    """The `if` beside backward() that holds the step, with what belongs to a step and no more."""
    for step in place.steps:
        around = script.parents[script.statement_of(step)]
        if not isinstance(around, ast.If) or around.orelse:
            continue
        if around in script.block_of(place.backward) and all(map(_of_a_step, around.body)):
            return around
    return None


def _of_a_step(statement: ast.stmt) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    names = ("step", "zero_grad", "update", "unscale_", "clip_grad_norm_")
    return isinstance(call, ast.Call) and last_name(call.func) in names


def _unwrapped(script: Script, around: ast.If) -> Splice:
    """The body in the place of the `if`."""
    begin = script.start(around)
    indent = script.text[script.line_start(begin) : begin]
    if indent.strip():
        raise NotEditable("The step stands on one line with others.")
    lines = f"{script.newline}{indent}".join(script.of(one) for one in around.body)
    return script.replace(around, lines)


def _cleared_in_block(script: Script, place: StepPlace) -> bool:
    """Whether gradients are cleared in the loop that holds backward()."""
    loops = loops_around(script, place.backward)
    if not loops:
        return True
    return any(
        isinstance(one, ast.Call) and last_name(one.func) == "zero_grad"
        for one in ast.walk(loops[0])
    )


def _stray_steps(script: Script, place: StepPlace) -> list[ast.stmt]:
    """Steps of the same optimizer outside the loop of backward(), each a statement by itself."""
    loops = loops_around(script, place.backward)
    inside = set(ast.walk(loops[0])) if loops else set()
    stray: list[ast.stmt] = []
    for step in place.steps:
        statement = script.statement_of(step)
        if step not in inside and isinstance(statement, ast.Expr):
            stray.append(statement)
    return stray


def clip_gradients(script: Script, facts: Facts) -> Edit:
    """Gradients of norm 1 at most, right before the step."""
    sentence = f"Gradients are clipped to a norm of {CLIP_NORM} before each step."
    clips = [one for one in script.walk() if last_name(one.func) == "clip_grad_norm_"]
    if clips:
        limits = [one.args[1] for one in clips if len(one.args) > 1]
        limits += [one.value for call in clips if (one := keyword(call, "max_norm"))]
        return Edit(
            sentence=sentence, splices=tuple(script.replace(one, CLIP_NORM) for one in limits)
        )
    trainer = _lightning_trainer(script)
    if trainer is not None:
        return Edit(
            sentence=sentence,
            splices=(with_keyword(script, trainer, "gradient_clip_val", CLIP_NORM),),
        )
    place = step_place(script, facts)
    if not place.steps:
        raise NotEditable("The script takes no step beside its backward().")
    if any(one.args for one in place.steps if not _scaler(script, one, place)):
        raise NotEditable("The optimizer is given a closure.")
    return Edit(sentence=sentence, splices=tuple(_clips(script, facts, place)))


def _clips(script: Script, facts: Facts, place: StepPlace) -> list[Splice]:
    model = model_name_in(script, facts, place.scope)
    if not model and isinstance(place.scope, ast.FunctionDef):
        named = [one.arg for one in place.scope.args.args]
        model = next((one for one in named if one in ("model", "net", "network")), "")
    parameters = (
        f"{model}.parameters()"
        if model
        else f'[p for group in {place.optimizer}.param_groups for p in group["params"]]'
    )
    clip = f"torch.nn.utils.clip_grad_norm_({parameters}, {CLIP_NORM})"
    found = []
    for step in place.steps:
        scaler = _scaler(script, step, place)
        lines = [f"{scaler}.unscale_({place.optimizer})"] if scaler else []
        found.append(script.before(script.statement_of(step), [*lines, clip]))
    return [*found, *torch_named(script)]


def _scaler(script: Script, step: ast.Call, place: StepPlace) -> str:
    owner = script.of(step.func.value) if isinstance(step.func, ast.Attribute) else ""
    return owner if owner != place.optimizer else ""


def _lightning_trainer(script: Script) -> ast.Call | None:
    """`pl.Trainer(...)`, in a script that steps nothing itself."""
    found = [one for one in script.walk() if last_name(one.func) == "Trainer"]
    manual = any(last_name(one.func) in ("backward", "manual_backward") for one in script.walk())
    return found[0] if len(found) == 1 and imports_lightning(script) and not manual else None
