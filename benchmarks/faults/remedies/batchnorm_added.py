# BatchNorm behind each convolution.
import torch

convolution_made, convolve = torch.nn.Conv2d.__init__, torch.nn.Conv2d.forward


def made_with_norm(self, in_channels, out_channels, *args, **kwargs):
    convolution_made(self, in_channels, out_channels, *args, **kwargs)
    self.norm = torch.nn.BatchNorm2d(out_channels)


torch.nn.Conv2d.__init__ = made_with_norm
torch.nn.Conv2d.forward = lambda self, x: self.norm(convolve(self, x))
