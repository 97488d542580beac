# ln of the class frequencies, as seen so far, is added to the logits in the loss of training.
import torch

loss_of_logits = torch.nn.functional.cross_entropy
loss_of_log_probs = torch.nn.functional.nll_loss
times_seen = {}


def log_prior(outputs, targets):
    counts = times_seen.setdefault("counts", torch.ones(outputs.shape[1]))
    if torch.is_grad_enabled():
        counts += torch.bincount(targets.detach(), minlength=len(counts))
    return torch.log(counts / counts.sum()) if torch.is_grad_enabled() else torch.zeros(1)


def corrected(outputs, targets, *args, **kwargs):
    return loss_of_logits(outputs + log_prior(outputs, targets), targets, *args, **kwargs)


def corrected_log_probs(outputs, targets, *args, **kwargs):
    log_probs = torch.log_softmax(outputs + log_prior(outputs, targets), dim=1)
    return loss_of_log_probs(log_probs, targets, *args, **kwargs)


torch.nn.functional.cross_entropy = corrected
torch.nn.functional.nll_loss = corrected_log_probs
