# nll_loss gets log-probabilities.
import torch

plain_nll_loss = torch.nn.functional.nll_loss


def nll_of_logits(outputs, *args, **kwargs):
    return plain_nll_loss(outputs.log_softmax(dim=1), *args, **kwargs)


torch.nn.functional.nll_loss = nll_of_logits
