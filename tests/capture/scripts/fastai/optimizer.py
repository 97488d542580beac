"""What the watch relies on of fastai's optimizer; fastai itself is too large for a test."""

from collections import defaultdict


class Optimizer:
    def __init__(self, params, cbs, **defaults):
        self.cbs, self.param_lists, self.state = cbs, [list(params)], defaultdict(dict)
        self.hypers = [dict(defaults)]

    def step(self):
        for parameters, hyper in zip(self.param_lists, self.hypers):
            for one in parameters:
                one.data.add_(one.grad.data, alpha=-hyper["lr"])


def average_grad(): ...
def average_sqr_grad(): ...
def weight_decay(): ...
