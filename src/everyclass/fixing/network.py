"""Edits of the network: dropout off, weights drawn again, other activations.

Comes in: a `Script` and `Facts`. Goes out: an `Edit`, or NotEditable with the reason.
"""

from __future__ import annotations

import re

from everyclass.fixing.facts import Edit, Facts
from everyclass.fixing.find import optimizer_call
from everyclass.fixing.imports import torch_named
from everyclass.fixing.model import model_name_in, model_place
from everyclass.fixing.source import NotEditable, Script, Splice, keyword, last_name


def no_dropout(script: Script, facts: Facts) -> Edit:
    """Probability 0 in each dropout layer of the script; else in those of the network."""
    splices = []
    for call in script.walk():
        if re.fullmatch(r"Dropout[123]?d?|AlphaDropout", last_name(call.func)):
            given = keyword(call, "p")
            value = call.args[0] if call.args else None if given is None else given.value
            at = script.end(call) - 1
            splices.append(
                Splice(start=at, end=at, text="0.0")
                if value is None
                else script.replace(value, "0.0")
            )
    if not splices:
        splices = list(_in_network(script, facts))
    return Edit(sentence="The dropout probability is set to 0.", splices=tuple(splices))


def _in_network(script: Script, facts: Facts) -> tuple[Splice, ...]:
    """For a network that another file or a library builds."""
    place = model_place(script, facts)
    if place.built_by is not None:
        raise NotEditable("The network is returned as it is built.")
    lines = [
        f"for module in {place.name}.modules():",
        "    if isinstance(module, torch.nn.Dropout):",
        "        module.p = 0.0",
    ]
    insert = script.before if place.side == "before" else script.after
    return (insert(place.statement, lines), *torch_named(script))


def standard_initialisation(script: Script, facts: Facts) -> Edit:
    """He's scheme, right before the optimizer is built."""
    call = optimizer_call(script, facts)
    name = model_name_in(script, facts, script.scope_of(call))
    if not name:
        raise NotEditable("How the network is called beside the optimizer was not recognised.")
    lines = [
        f"for module in {name}.modules():",
        '    if hasattr(module, "reset_parameters"):',
        "        module.reset_parameters()",
        "    if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):",
        '        torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")',
        "        if module.bias is not None:",
        "            torch.nn.init.zeros_(module.bias)",
    ]
    if facts.head:
        lines.append(f'{name}.get_submodule("{facts.head}").weight.data.mul_(0.1)')
    return Edit(
        sentence="Weights are drawn anew by He's scheme, the last layer's a tenth as large, before "
        "the optimizer is built.",
        splices=(script.before(script.statement_of(call), lines), *torch_named(script)),
    )


def hidden_relu(script: Script, facts: Facts) -> Edit:
    """ReLU in place of each sigmoid and tanh layer before the last layer, and He's scheme."""
    layers = [one for one in script.walk() if last_name(one.func) in ("Linear", "LazyLinear")]
    end = script.start(layers[-1]) if layers else 0
    found = [
        one
        for one in script.walk()
        if last_name(one.func) in ("Sigmoid", "Tanh", "Hardsigmoid", "Hardtanh")
        and script.start(one) < end
    ]
    if not found:
        raise NotEditable("No sigmoid or tanh layer was recognised before the last linear one.")
    drawn = standard_initialisation(script, facts)
    splices = [script.replace(one, "torch.nn.ReLU()") for one in found]
    return Edit(
        sentence="ReLU takes the place of sigmoid and tanh layers before the last layer. "
        f"{drawn.sentence}",
        splices=(*splices, *drawn.splices),
    )
