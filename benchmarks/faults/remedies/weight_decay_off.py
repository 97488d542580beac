# No weight decay.
from torch.optim.optimizer import register_optimizer_step_pre_hook as before_step


def without_decay(optimizer, args, kwargs):
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0


before_step(without_decay)
