# Gradients are cleared after each step.
from torch.optim.optimizer import register_optimizer_step_post_hook as after_step

after_step(lambda optimizer, args, kwargs: optimizer.zero_grad())
