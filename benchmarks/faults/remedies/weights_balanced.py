# Class weights inversely proportional to the class counts, as seen so far: the tutorial's second
# advice.
import torch

times_seen = {}


def weighted(loss):
    def balanced(outputs, targets, weight=None, *args, **kwargs):
        counts = times_seen.setdefault("counts", torch.ones(outputs.shape[1]))
        if torch.is_grad_enabled():
            counts += torch.bincount(targets.detach(), minlength=len(counts))
        return loss(outputs, targets, counts.sum() / (len(counts) * counts), *args, **kwargs)

    return balanced


for loss_name in ("cross_entropy", "nll_loss"):
    setattr(torch.nn.functional, loss_name, weighted(getattr(torch.nn.functional, loss_name)))
