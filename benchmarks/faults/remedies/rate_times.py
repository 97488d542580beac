# The learning rate times a factor, whatever a schedule does with it.
from torch.optim.optimizer import register_optimizer_step_post_hook as after_step
from torch.optim.optimizer import register_optimizer_step_pre_hook as before_step

RATE_FACTOR = 10.0


def rate_changed(optimizer, args, kwargs):
    for group in optimizer.param_groups:
        group["rate_of_script"] = group["lr"]
        group["lr"] = group["lr"] * RATE_FACTOR


def rate_put_back(optimizer, args, kwargs):
    for group in optimizer.param_groups:
        group["lr"] = group.pop("rate_of_script")


before_step(rate_changed)
after_step(rate_put_back)
