"""Which network is trained by which optimizer.

Comes in: optimizers as they are made, calls of networks, losses. Goes out: the root, which is the
network that the script itself calls and whose answer reaches the loss of a step; the optimizer that
takes this step; the weights before it. Knows no monitor.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable, Mapping

from torch import Tensor, nn
from torch.optim import Optimizer

from everyclass.capture.facts import Facts
from everyclass.capture.feed import to_host
from everyclass.capture.models import CallTap, ModelCall, parameters_behind, tops_of

LARGEST_STATE = 2 * 2**30
"""Bytes of initial weights that are copied; larger networks are watched without."""

GRAPH_SEARCHES = 3
"""Losses whose graph is searched for a network that no optimizer holds."""

CALLS_AWAITED = 3
"""Steps after which the network is named although its own call was never seen."""

KEPT_OPTIMIZERS = 4
"""Of the watched network, that stay alive: a script may make a new one again and again."""


class Roots:
    """Finds the watched network.

    Args:
        facts: gets what was chosen and why.
        tap: is told which modules to hook.
    """

    def __init__(self, facts: Facts, tap: CallTap) -> None:
        self.root: nn.Module | None = None
        self.optimizer: Optimizer | None = None
        self.optimizers: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self.initial_state: dict[str, Tensor] | None = None
        self._facts = facts
        self._tap = tap
        self._states: dict[int, dict[str, Tensor]] = {}
        self._owned: weakref.WeakKeyDictionary[Optimizer, bool] = weakref.WeakKeyDictionary()
        self._own_optimizers: deque[Optimizer] = deque(maxlen=KEPT_OPTIMIZERS)
        self._searches = 0
        self._without_call = 0

    def add_optimizer(self, optimizer: Optimizer) -> None:
        """Until the root is known, calls of the networks that hold its parameters are heard."""
        self.optimizers.add(optimizer)
        self.expect(parameters_of(optimizer))

    def expect(self, parameters: Iterable[Tensor]) -> None:
        """These are about to be trained: until the root is known, calls of their networks are
        heard."""
        if self.root is None:
            self._track(parameters)

    def search_graph(self, loss: Tensor) -> None:
        """The loss comes from a network that nobody listens to: no optimizer holds it."""
        if self.root is None and self._searches < GRAPH_SEARCHES:
            self._searches += 1
            self._track(parameters_behind(loss))

    def replace(self, old: nn.Module, new: nn.Module) -> None:
        """A network was wrapped (compiled): calls of the wrapper are heard instead."""
        if any(map(self._tap.tracks, old.modules())):
            self._tap.forget(old)
            self._tap.track(new)
            if self.root is old:
                self.root = new

    def remember_state(self, module: nn.Module) -> None:
        """Copy a network's state before its first pass: batch statistics move with the pass."""
        if self.root is not None or id(module) in self._states:
            return
        parameters = list(module.parameters())
        if not parameters or any(isinstance(one, nn.UninitializedParameter) for one in parameters):
            return
        if "FullyShardedDataParallel" in type(module).__name__:
            self._facts.note("The initial weights of a sharded network were not copied.")
            return
        size = _bytes(parameters)
        if size + sum(_bytes(one.values()) for one in self._states.values()) > LARGEST_STATE:
            self._facts.note(
                f"The initial weights ({size / 2**20:,.0f} MB) were not copied: the limit is "
                f"{LARGEST_STATE / 2**20:,.0f} MB."
            )
            return
        state: Mapping[str, object] = module.state_dict()
        self._states[id(module)] = {
            key: to_host(value) for key, value in state.items() if isinstance(value, Tensor)
        }

    def choose(
        self, optimizer: Optimizer | None, calls: list[ModelCall], *, recent: Iterable[ModelCall]
    ) -> None:
        """Settle on the network of these calls, whose answers reached the loss of a step.

        Args:
            optimizer: the one that stepped, None when none did.
            calls: may be empty, when the loss was seen and no call before it.
            recent: other calls of about the same time.
        """
        if self.optimizer is None:
            self.optimizer = optimizer
        if calls:
            self._choose_called([*calls, *recent], calls[0].module)
            return
        self._without_call += 1
        if self._without_call < CALLS_AWAITED or optimizer is None:
            return
        tops = tops_of(parameters_of(optimizer))
        if tops:
            self._facts.note(
                "The network's own call was never seen (it runs inside a compiled function, or by "
                "`forward`): batches are kept without its arguments."
            )
            self._settle(tops[0], called=False)

    def owns(self, optimizer: Optimizer) -> bool:
        """Whether its steps are the watched network's: it took the first, or holds a parameter."""
        known = self._owned.get(optimizer)
        if known is None:
            known = optimizer is self.optimizer
            if self.root is not None and not known:
                own = {id(one) for one in self.root.parameters()}
                known = any(id(one) in own for one in parameters_of(optimizer))
            self._owned[optimizer] = known
            if known:
                # A script's second optimizer is gone with its function, and asked for after that.
                self._own_optimizers.append(optimizer)
        return known

    def _track(self, parameters: Iterable[Tensor]) -> None:
        for top in tops_of(parameters):
            self._tap.track(top)

    def _choose_called(self, calls: list[ModelCall], root: nn.Module) -> None:
        """The called network, or the one that it is a part of when other parts are called too."""
        parts = {
            id(one.module): one.module
            for one in calls
            if one.gradients and next(one.module.parameters(), None) is not None
        }
        above = _common_top(tuple(parts.values())) if len(parts) > 1 else None
        if above is not None and id(above) not in parts:
            self._facts.note(
                f"The parts of {type(above).__name__} are called one by one, never itself: its "
                "batches are kept without the arguments of a call."
            )
            self._settle(above, called=False)
        else:
            self._settle(root, called=True)

    def _settle(self, root: nn.Module, *, called: bool) -> None:
        self.root = root
        self.initial_state = self._states.get(id(root))
        self._states.clear()
        self._owned.clear()
        self._tap.keep_only(root if called else None)


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Of all groups."""
    return [one for group in optimizer.param_groups for one in group["params"]]


def _common_top(modules: tuple[nn.Module, ...]) -> nn.Module | None:
    wanted = {id(one) for one in modules}
    for top in tops_of([one for module in modules for one in module.parameters()]):
        if wanted <= {id(one) for one in top.modules()}:
            return top
    return None


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(one.numel() * one.element_size() for one in tensors)
