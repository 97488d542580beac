# Gradients of norm 1 at most.
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook as before_step


def clipped(optimizer, args, kwargs):
    for group in optimizer.param_groups:
        torch.nn.utils.clip_grad_norm_(group["params"], 1.0)


before_step(clipped)
