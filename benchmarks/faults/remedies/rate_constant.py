# The learning rate reaches its peak over the first 50 steps and stays there.
from torch.optim.optimizer import register_optimizer_step_pre_hook as before_step

WARM_UP_STEPS = 50
peaks, taken = {}, {}


def rate_held(optimizer, args, kwargs):
    taken[optimizer] = taken.get(optimizer, 0) + 1
    for i, group in enumerate(optimizer.param_groups):
        meant = group.get("max_lr", group.get("initial_lr", group["lr"]))
        peak = peaks.setdefault((optimizer, i), meant)
        group["lr"] = peak * min(1.0, taken[optimizer] / WARM_UP_STEPS)


before_step(rate_held)
