# Training loaders shuffle, where nothing else decides on the order.
import torch

loader_made = torch.utils.data.DataLoader.__init__


def loader_shuffled(self, dataset, batch_size=1, shuffle=None, sampler=None, **kwargs):
    if sampler is None and kwargs.get("batch_sampler") is None:
        shuffle = True
    loader_made(self, dataset, batch_size, shuffle, sampler, **kwargs)


torch.utils.data.DataLoader.__init__ = loader_shuffled
