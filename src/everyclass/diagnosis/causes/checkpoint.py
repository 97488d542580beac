"""A checkpoint that was loaded, and of which the network took nothing.

Cause: weights-not-loaded. `strict=False`, and filters that keep what has a fitting name, drop in
silence what does not fit: the network then starts at random.
"""

from __future__ import annotations

from everyclass.diagnosis.answers import Answer, Check, NotApplicable, accuse, figure, passed
from everyclass.diagnosis.case import LostLoad, StateLoad
from everyclass.diagnosis.material import Material
from everyclass.diagnosis.state_names import beginnings, meant_for

HARDLY = 0.1
"""Share of a checkpoint's numbers below which nothing of use was taken, whatever it was."""

MOST_FITS = 0.5
"""Share of its tensors that would fit under other names, from which they were meant to."""


def weights_loaded(material: Material) -> Answer:
    """What the network took of each checkpoint."""
    loads, lost = material.case.loads, material.case.lost_loads
    told = [one for one in lost if one.fitting >= MOST_FITS * one.tensors]
    if told and not any(one.tensors for one in loads):
        return _lost_elsewhere(told[0])
    if not loads:
        raise NotApplicable("No checkpoint was seen to be loaded.")
    for load in loads:
        if load.own and load.tensors == {} and material.learned is False:
            return _given_back(load)
        if load.tensors:
            answer = _left_out(load, material)
            if answer is not None:
                return answer
    least = min(one.taken for one in loads)
    return passed(
        f"{figure(100 * least)} % or more of each checkpoint's weights went into the network.",
        {"taken": [one.taken for one in loads]},
    )


def _lost_elsewhere(load: LostLoad) -> Answer:
    at = f" ({load.site})" if load.site else ""
    return accuse(
        "weights-not-loaded",
        f"load_state_dict{at} took nothing of the {load.tensors} tensors in the checkpoint, "
        f"{load.fitting} of which have a place in the network under other names "
        f"('{load.first}', ...): this {load.network}, another network than the one watched, starts "
        "at random.",
        remedy="Rename what differs at the beginning ('module.' or 'backbone.', usually), and load "
        "with strict=True: it says which names do not fit.",
        evidence={"fact": True, "taken": 0.0, "tensors": load.tensors, "site": load.site},
    )


def _given_back(load: StateLoad) -> Answer:
    return accuse(
        "weights-not-loaded",
        f"load_state_dict{_at(load)} was given the network's own weights: nothing in the "
        "checkpoint has a name and shape that fits.",
        remedy="Print the names on both sides before filtering, and rename: a beginning such as "
        "'module.' or 'backbone.' is the usual difference.",
        evidence={"fact": True, "taken": 0.0, "site": load.site},
    )


def _left_out(load: StateLoad, material: Material) -> Answer | None:
    meant = fitting_names(load, material)
    share = len(meant) / len(load.tensors)
    if load.taken >= HARDLY and share < MOST_FITS:
        return None
    first = next(iter(load.tensors))
    part = f" of '{load.place}'" if load.place else ""
    told = (
        f"load_state_dict{_at(load)} took {figure(100 * load.taken)} % of the weights in the "
        f"checkpoint and left the rest out without a word: the network{part} starts at random."
    )
    turn = beginnings(meant)
    if share >= MOST_FITS and turn is not None:
        removed, added = turn
        told += (
            f" {len(meant)} of its {len(load.tensors)} tensors fit with "
            + (f"'{removed}' taken off their names" if removed else "")
            + (" and " if removed and added else "")
            + (f"'{added}' put before them" if added else "")
            + "."
        )
        new = (
            f"{added!r} + k.removeprefix({removed!r})" if added else f"k.removeprefix({removed!r})"
        )
        remedy = f"Rename: load_state_dict({{{new}: v for k, v in state.items()}}), strict."
    elif share >= MOST_FITS:
        told += (
            f" {len(meant)} of its {len(load.tensors)} tensors have the shapes of the network's."
        )
        remedy = "Load the dictionary of weights itself, under the network's names, strict."
    else:
        told += f" Its first tensor is '{first}'; the network's is '{_first_of(load, material)}'."
        remedy = "Load with strict=True: it says which names do not fit."
    return accuse(
        "weights-not-loaded",
        told,
        remedy=remedy,
        evidence={
            "taken": load.taken,
            "tensors": len(load.tensors),
            "would_fit": len(meant),
            "site": load.site,
        }
        | ({"fact": True} if share >= MOST_FITS and load.taken < HARDLY else {}),
    )


def fitting_names(load: StateLoad, material: Material) -> dict[str, str]:
    """Name in the checkpoint -> name in the network's part, of what was meant for it."""
    part = material.case.model.get_submodule(load.place)
    expected = {name: tuple(one.shape) for name, one in part.state_dict().items()}
    return meant_for({name: tuple(one.shape) for name, one in load.tensors.items()}, expected)


def _first_of(load: StateLoad, material: Material) -> str:
    return next(iter(material.case.model.get_submodule(load.place).state_dict()), "")


def _at(load: StateLoad) -> str:
    return f" ({load.site})" if load.site else ""


CHECKS = (Check(name="weights-loaded", run=weights_loaded, needs_finite=False),)
