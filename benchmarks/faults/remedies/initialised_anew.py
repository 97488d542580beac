# The weights are drawn by He's scheme at the network's first pass, other layers by torch's own; the
# last layer's a tenth as large.
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

drawn = set()


def draw(module):
    for name in ("reset_parameters", "_reset_parameters"):
        if callable(getattr(module, name, None)):
            getattr(module, name)()
    if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
        torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            torch.nn.init.zeros_(module.bias)


def draw_once(module, args):
    if not drawn and next(module.parameters(), None) is not None:
        drawn.add(id(module))
        with torch.no_grad():
            module.apply(draw)
            layers = [one for one in module.modules() if isinstance(one, torch.nn.Linear)]
            for last in layers[-1:]:
                last.weight.mul_(0.1)


register_module_forward_pre_hook(draw_once)
