# The learning rate never exceeds three times what it was meant to be at the first step.
from torch.optim.optimizer import register_optimizer_step_pre_hook as before_step

ROOM = 3.0
meant = {}


def rate_capped(optimizer, args, kwargs):
    for i, group in enumerate(optimizer.param_groups):
        most = meant.setdefault((optimizer, i), group.get("initial_lr", group["lr"]))
        if group["lr"] > ROOM * most:
            group["lr"] = most


before_step(rate_capped)
