# No class weights in the loss.
import torch


def unweighted(loss):
    def equal(outputs, targets, weight=None, *args, **kwargs):
        kwargs.pop("pos_weight", None)
        return loss(outputs, targets, None, *args, **kwargs)

    return equal


for loss_name in ("cross_entropy", "nll_loss", "binary_cross_entropy_with_logits"):
    setattr(torch.nn.functional, loss_name, unweighted(getattr(torch.nn.functional, loss_name)))
