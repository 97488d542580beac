# A network that runs without gradients runs in evaluation mode.
import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

changed = []


def evaluate(module, args):
    if module.training and not torch.is_grad_enabled() and not changed:
        changed.append(module)
        module.eval()


def train_again(module, args, output):
    if changed and changed[0] is module:
        changed.clear()
        module.train()


register_module_forward_pre_hook(evaluate)
register_module_forward_hook(train_again)
