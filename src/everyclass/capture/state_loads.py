"""Checkpoints that a script loads, and what of them its networks took.

Comes in: each call of `load_state_dict`. Goes out: `StateLoad` values for the network that is
watched, of what was loaded before its first step; `LostLoad` values for others that took nothing.
Keeps no network alive, and a checkpoint's tensors only where most of them were left out
and the network is still there.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from everyclass.capture.sites import Site, calling_site, site_text
from everyclass.diagnosis.case import LostLoad, StateLoad
from everyclass.diagnosis.state_names import elements, meant_for, tensors_of

TAKEN = 0.5
"""Share of a checkpoint's numbers from which it counts as loaded: a head of another size, or half
of a larger network, is left out on purpose."""

MOST_LOADS = 64


@dataclass(frozen=True, slots=True)
class Offer:
    """A checkpoint about to be loaded; `lost` where nothing of it fits."""

    module: weakref.ref[nn.Module]
    tensors: Mapping[str, Tensor]
    taken: float
    own: bool
    site: Site | None
    lost: LostLoad | None = None


class StateLoads:
    """The loads of a script."""

    def __init__(self) -> None:
        self._known: list[Offer] = []
        self._lost: list[Offer] = []

    def offered(
        self, module: nn.Module, state: Mapping[str, Any], *, trained: bool
    ) -> Offer | None:
        """What is about to be loaded into a module; None where that is of no interest.

        Args:
            trained: steps were taken before. The best epoch's weights, say, begin nothing: only
                what takes nothing counts then.
        """
        if len(self._known) >= MOST_LOADS or not isinstance(state, Mapping):
            return None
        tensors = tensors_of(state)
        own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        fitting = {
            name: one
            for name, one in tensors.items()
            if state.get(name) is one and name in own and own[name].shape == one.shape
        }
        count = elements(tensors)
        if not count:
            return None
        itself = {name: one for name, one in fitting.items() if _same_memory(one, own[name])}
        taken = elements(fitting) / count
        mostly_own = 2 * elements(itself) > elements(fitting)
        if trained and taken:
            return None
        site = calling_site()
        lost = None if taken else _lost(module, tensors, own, site)
        kept = tensors if taken < TAKEN and not trained else {}
        return Offer(weakref.ref(module), kept, taken, mostly_own, site, lost)

    def loaded(self, offer: Offer) -> None:
        """The load went through."""
        if offer.lost is not None and len(self._lost) < MOST_LOADS:
            self._lost.append(offer)
            if not offer.tensors:
                return
        known = [(one, one.module()) for one in self._known]
        again = offer.module()
        self._known = [one for one, own in known if own is not None and own is not again]
        self._known.append(offer)

    def of(self, root: nn.Module) -> tuple[StateLoad, ...]:
        """What was loaded into the network or a part of it."""
        places = {id(one): name for name, one in root.named_modules()}
        return tuple(
            StateLoad(
                place=places[id(module)],
                tensors=one.tensors,
                taken=one.taken,
                own=one.own,
                site=site_text(one.site),
            )
            for one in self._known
            if (module := one.module()) is not None and id(module) in places
        )

    def lost(self, root: nn.Module | None) -> tuple[LostLoad, ...]:
        """What networks that the watched one is no part of took nothing of. One that is gone may
        have been watched, and one that is watched is told of by `of`."""
        parts = set() if root is None else {id(one) for one in root.modules()}
        return tuple(
            one.lost
            for one in self._lost
            if one.lost is not None
            and (
                not one.tensors
                or ((module := one.module()) is not None and id(module) not in parts)
            )
        )


def _lost(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    site: Site | None,
) -> LostLoad:
    shapes = {name: tuple(one.shape) for name, one in tensors.items()}
    fitting = meant_for(shapes, {name: tuple(one.shape) for name, one in own.items()})
    return LostLoad(
        network=type(module).__name__,
        tensors=len(tensors),
        fitting=len(fitting),
        first=next(iter(tensors)),
        site=site_text(site),
    )


def _same_memory(one: Tensor, other: Tensor) -> bool:
    try:
        return one.data_ptr() == other.data_ptr() and one.numel() > 0
    except RuntimeError:  # tensors without memory of their own
        return False
