# No dropout.
import torch

torch.nn.functional.dropout = lambda x, *args, **kwargs: x
torch.nn.functional.dropout2d = lambda x, *args, **kwargs: x
torch.dropout = lambda x, *args, **kwargs: x
