# Three tenths of the learning rate, reached over 50 steps.
from torch.optim.optimizer import register_optimizer_step_post_hook as after_step
from torch.optim.optimizer import register_optimizer_step_pre_hook as before_step

steps_made = 0


def rate_lowered(optimizer, args, kwargs):
    global steps_made
    steps_made += 1
    for group in optimizer.param_groups:
        group["rate_of_script"] = group["lr"]
        group["lr"] = group["lr"] * 0.3 * min(1.0, steps_made / 50)


def rate_raised_again(optimizer, args, kwargs):
    for group in optimizer.param_groups:
        group["lr"] = group.pop("rate_of_script")


before_step(rate_lowered)
after_step(rate_raised_again)
