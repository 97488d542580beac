# What the network gets is standardised, channel by channel, with the figures of its first batch.
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

standardising = {}


def standardised(module, args):
    if not args or not torch.is_tensor(args[0]) or not args[0].is_floating_point():
        return None
    if "network" not in standardising:
        if next(module.parameters(), None) is None:
            return None
        x = args[0].detach()
        dims = [k for k in range(x.ndim) if k != 1] if x.ndim > 2 else list(range(x.ndim))
        standardising["network"] = module
        standardising["mean"] = x.mean(dims, keepdim=True)
        standardising["deviation"] = x.std(dims, keepdim=True).clamp_min(1e-12)
    if module is not standardising["network"]:
        return None
    return ((args[0] - standardising["mean"]) / standardising["deviation"], *args[1:])


register_module_forward_pre_hook(standardised)
