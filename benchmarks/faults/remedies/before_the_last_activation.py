# A network answers with the output of its last linear layer, whatever stands behind that.
import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

running, last = [], {}


def begins(module, args):
    running.append(module)


def ends(module, args, output):
    running.pop()
    if isinstance(module, torch.nn.Linear):
        last["output"] = output
    behind = last.get("output")
    if running or not torch.is_tensor(output) or behind is None:
        return None
    last.clear()
    return behind if behind.shape == output.shape else output


register_module_forward_pre_hook(begins)
register_module_forward_hook(ends)
