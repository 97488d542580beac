# Loaders shuffle, where no random sampler decides on the order.
import torch
from torch.utils.data import RandomSampler, SubsetRandomSampler, WeightedRandomSampler

loader_made = torch.utils.data.DataLoader.__init__


def loader_shuffled(self, dataset, batch_size=1, shuffle=None, sampler=None, **kwargs):
    random = isinstance(sampler, (RandomSampler, SubsetRandomSampler, WeightedRandomSampler))
    if not random and kwargs.get("batch_sampler") is None:
        shuffle, sampler = True, None
    loader_made(self, dataset, batch_size, shuffle, sampler, **kwargs)


torch.utils.data.DataLoader.__init__ = loader_shuffled
