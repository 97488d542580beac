# Sigmoid, tanh and shrinking layers before a network's last layer are ReLU, its weights are He's.
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

REPLACED = (
    *(torch.nn.Sigmoid, torch.nn.Tanh),
    *(torch.nn.Hardshrink, torch.nn.Softshrink, torch.nn.Threshold),
)
rectified = set()


def rectify(network):
    layers = list(network.named_modules())
    last = max(
        (i for i, (_, one) in enumerate(layers) if isinstance(one, torch.nn.Linear)), default=0
    )
    for name, one in layers[:last]:
        if isinstance(one, REPLACED):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, torch.nn.ReLU())
    for _, one in layers:
        if isinstance(one, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(one.weight, nonlinearity="relu")
            if one.bias is not None:
                torch.nn.init.zeros_(one.bias)


def rectify_once(module, args):
    if not rectified and next(module.parameters(), None) is not None:
        rectified.add(id(module))
        with torch.no_grad():
            rectify(module)


register_module_forward_pre_hook(rectify_once)
