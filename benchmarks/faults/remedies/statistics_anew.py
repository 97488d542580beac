# Before each evaluation BatchNorm's statistics are taken anew from the last training batches.
import collections

import torch
from torch.nn.modules.module import register_module_forward_pre_hook

recent = collections.deque(maxlen=40)
measuring = {}
change_mode = torch.nn.Module.train


def remember(module, args):
    if next(module.parameters(), None) is None or not args or measuring.get("now"):
        return
    if measuring.setdefault("network", module) is module and module.training:
        recent.append(tuple(one.detach() if torch.is_tensor(one) else one for one in args))


def train_or_measure(self, mode=True):
    if not mode and self.training and self is measuring.get("network") and recent:
        norms = [one for one in self.modules() if isinstance(one, torch.nn.BatchNorm2d)]
        momenta = [one.momentum for one in norms]
        for one in norms:
            one.reset_running_stats()
            one.momentum = None
        measuring["now"] = True
        with torch.no_grad():
            for args in recent:
                self(*args)
        measuring["now"] = False
        for one, momentum in zip(norms, momenta):
            one.momentum = momentum
    return change_mode(self, mode)


register_module_forward_pre_hook(remember)
torch.nn.Module.train = train_or_measure
