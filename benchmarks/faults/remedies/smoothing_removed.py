# No label smoothing in the loss.
import torch

smoothed = torch.nn.functional.cross_entropy


def not_smoothed(outputs, targets, *args, label_smoothing=0.0, **kwargs):
    return smoothed(outputs, targets, *args, **kwargs)


torch.nn.functional.cross_entropy = not_smoothed
