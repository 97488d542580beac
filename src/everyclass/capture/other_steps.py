"""Steps that no optimizer of torch's takes: fastai's, and those that a script writes by hand.

Comes in: a fastai optimizer before and after its step, a network before a training pass. Goes out:
the optimizer of torch's that stands for it, once a step was taken; facts and places are told of it.
What stands for what is `stand_ins`' business.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer

from everyclass.capture.facts import Facts
from everyclass.capture.roots import Roots
from everyclass.capture.sites import Sites
from everyclass.capture.stand_ins import FastaiOptimizers, HandUpdates


class OtherSteps:
    """Watches for them.

    Args:
        facts: get what stands for what.
        sites: get where it was seen.
        roots: find the network by the parameters that are trained.
    """

    def __init__(self, facts: Facts, sites: Sites, roots: Roots) -> None:
        self._facts = facts
        self._sites = sites
        self._roots = roots
        self._fastai = FastaiOptimizers()
        self._by_hand = HandUpdates()

    def fastai_made(self, optimizer: Any) -> None:
        """What it will do to which parameters is told by its first step."""
        self._roots.expect([one for group in optimizer.param_lists for one in group])

    def fastai_stepped(self, optimizer: object) -> Optimizer:
        """What stands for it."""
        stand_in, new = self._fastai.stand_in(optimizer)
        if new:
            self._facts.optimizers += 1
            self._facts.note(
                f"The optimizer is fastai's own: copies are trained by torch's "
                f"{type(stand_in).__name__} with its rate, momentum and decay."
            )
            self._sites.remember(stand_in)
            self._roots.add_optimizer(stand_in)
        return stand_in

    def pass_begins(self, network: nn.Module) -> Optimizer | None:
        """Where nobody made an optimizer, the script may have changed the weights itself: what
        stands for that; None otherwise. (One that asks for the loss again, as LBFGS does, changes
        them between two passes of its first step.)
        """
        if self._roots.optimizers:
            self._by_hand.leave()
            return None
        if self._roots.root not in (None, network) or not self._by_hand.pass_begins(network):
            return None
        assert self._by_hand.optimizer is not None
        self._facts.note(self._by_hand.note)
        return self._by_hand.optimizer

    def by_hand(self, optimizer: Optimizer) -> bool:
        """Whether it stands for updates that the script writes itself."""
        return optimizer is self._by_hand.optimizer

    def leave(self) -> None:
        """Take the hooks off the weights."""
        self._by_hand.leave()
