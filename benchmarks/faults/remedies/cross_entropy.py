# What is differentiated is cross-entropy of the network's last answer and the batch's class ids.
import torch
from torch.nn.modules.module import register_module_forward_hook

last = {}
loader_next = torch.utils.data.dataloader._BaseDataLoaderIter.__next__
backward = torch.Tensor.backward


def remember_targets(self):
    batch = loader_next(self)
    if torch.is_grad_enabled():
        last["targets"] = batch[1]
    return batch


def remember_answer(module, args, output):
    own = torch.is_grad_enabled() and next(module.parameters(), None) is not None
    if own and torch.is_tensor(output) and output.ndim == 2:
        last["answer"] = output  # the outermost network ends last


def backward_of_cross_entropy(self, *args, **kwargs):
    if "targets" in last and "answer" in last:
        self = torch.nn.functional.cross_entropy(last["answer"], last["targets"].long())
    return backward(self, *args, **kwargs)


torch.utils.data.dataloader._BaseDataLoaderIter.__next__ = remember_targets
torch.Tensor.backward = backward_of_cross_entropy
register_module_forward_hook(remember_answer)
