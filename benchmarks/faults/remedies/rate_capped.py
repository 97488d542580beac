# The learning rate never exceeds three times the largest of the first 50 steps.
from torch.optim.optimizer import register_optimizer_step_pre_hook as before_step

EARLY_STEPS, ROOM = 50, 3.0
largest = {}
taken = {}


def rate_capped(optimizer, args, kwargs):
    taken[optimizer] = taken.get(optimizer, 0) + 1
    for i, group in enumerate(optimizer.param_groups):
        known = largest.get((optimizer, i), 0.0)
        if taken[optimizer] <= EARLY_STEPS:
            largest[optimizer, i] = max(known, group["lr"])
        elif group["lr"] > ROOM * known:
            group["lr"] = known


before_step(rate_capped)
