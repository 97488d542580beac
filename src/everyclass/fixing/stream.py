"""Edits of the order of the images. Comes in: a `Script` and `Facts`. Goes out: an `Edit`."""

from __future__ import annotations

import ast

from everyclass.fixing.facts import Edit, Facts
from everyclass.fixing.find import loops_around, step_place
from everyclass.fixing.source import NotEditable, Script, keyword, last_name, with_keyword


def shuffle(script: Script, facts: Facts) -> Edit:
    """shuffle=True in the training loader."""
    loader = training_loader(script, facts)
    given, sampler = keyword(loader, "shuffle"), keyword(loader, "sampler")
    if keyword(loader, "batch_sampler") is not None:
        raise NotEditable("The training loader gets its batches from a batch_sampler.")
    if sampler is not None:
        splice = script.replace(sampler, "shuffle=True")
    elif given is not None:
        splice = script.replace(given.value, "True")
    elif len(loader.args) > 2:
        splice = script.replace(loader.args[2], "True")
    else:
        splice = with_keyword(script, loader, "shuffle", "True")
    return Edit(
        sentence=f"The training loader of line {loader.lineno} shuffles.", splices=(splice,)
    )


def training_loader(script: Script, facts: Facts) -> ast.Call:
    """The DataLoader that the training loop runs over."""
    loaders = [one for one in script.walk() if last_name(one.func) == "DataLoader"]
    if not loaders:
        raise NotEditable("The script builds no DataLoader.")
    if len(loaders) == 1:
        return loaders[0]
    name = _looped_over(script, facts)
    for likely in (
        [one for one in loaders if name and name in _targets(script, one)],
        [one for one in loaders if any("train" in part for part in _targets(script, one))],
        [one for one in loaders if one.args and "train" in script.of(one.args[0]).lower()],
    ):
        if len(likely) == 1:
            return likely[0]
    raise NotEditable("Which of the DataLoaders is the training one was not recognised.")


def _looped_over(script: Script, facts: Facts) -> str:
    """The name that the loop around backward() runs over; "" where it is none."""
    try:
        backward = step_place(script, facts).backward
    except NotEditable:
        return ""
    loops = loops_around(script, backward)
    if not loops or not isinstance(loops[0], ast.For):
        return ""
    node: ast.expr = loops[0].iter
    while isinstance(node, ast.Call) and node.args:  # enumerate(...), tqdm(...)
        node = node.args[0]
    return last_name(node)


def _targets(script: Script, call: ast.Call) -> set[str]:
    """What the loader is called: names it is assigned to, the method that returns it."""
    found = set()
    for one in script.ancestors(call):
        if isinstance(one, ast.Assign):
            found |= {last_name(part).lower() for part in ast.walk(one) if _stored(part)}
        if isinstance(one, (ast.FunctionDef, ast.ClassDef)):
            if "train" in one.name.lower():
                found.add(one.name.lower())
            break
    return found


def _stored(node: ast.AST) -> bool:
    return isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store)
