# The learning rate stays at its peak.
from torch.optim.optimizer import register_optimizer_step_pre_hook as before_step


def rate_held(optimizer, args, kwargs):
    for group in optimizer.param_groups:
        group["lr"] = group.get("max_lr", group.get("initial_lr", group["lr"]))


before_step(rate_held)
