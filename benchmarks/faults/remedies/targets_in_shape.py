# Targets take the shape of the outputs.
import torch


def in_shape(loss):
    def fitted(outputs, targets, *args, **kwargs):
        same = outputs.numel() == targets.numel()
        return loss(outputs, targets.view_as(outputs) if same else targets, *args, **kwargs)

    return fitted


for loss_name in ("mse_loss", "l1_loss", "smooth_l1_loss", "binary_cross_entropy_with_logits"):
    setattr(torch.nn.functional, loss_name, in_shape(getattr(torch.nn.functional, loss_name)))
