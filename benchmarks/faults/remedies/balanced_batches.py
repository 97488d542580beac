# Shuffled loaders draw each class equally often.
import torch

loader_made = torch.utils.data.DataLoader.__init__


def loader_balanced(self, dataset, batch_size=1, shuffle=None, sampler=None, **kwargs):
    if shuffle:
        ids = torch.tensor([int(dataset[i][1]) for i in range(len(dataset))])
        often = 1.0 / torch.bincount(ids).clamp_min(1)[ids]
        sampler, shuffle = torch.utils.data.WeightedRandomSampler(often, len(ids)), None
    loader_made(self, dataset, batch_size, shuffle, sampler, **kwargs)


torch.utils.data.DataLoader.__init__ = loader_balanced
