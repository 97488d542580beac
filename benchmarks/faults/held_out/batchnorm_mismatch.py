from compose import Guise, place

BY_HAND = """\
def batch_norm(x, gamma, beta, moving_mean, moving_var, training, eps=1e-5, momentum=0.9):
    if training:
        mean = x.mean(dim=(0, 2, 3), keepdim=True)
        var = ((x - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True)
        moving_mean = momentum * moving_mean + (1 - momentum) * mean
        moving_var = momentum * moving_var + (1 - momentum) * var
    else:
        mean, var = moving_mean, moving_var
    return gamma * (x - mean) / torch.sqrt(var + eps) + beta


class BatchNorm(nn.Module):
    def __init__(self, num_features):
        super().__init__()
        shape = (1, num_features, 1, 1)
        self.gamma = nn.Parameter(torch.ones(shape))
        self.beta = nn.Parameter(torch.zeros(shape))
        self.register_buffer("moving_mean", torch.zeros(shape))
        self.register_buffer("moving_var", torch.ones(shape))

    def forward(self, x):
        return batch_norm(
            x, self.gamma, self.beta, self.moving_mean, self.moving_var, self.training
        )


def block("""

GUISES = (
    Guise(
        name="batch-norm-by-hand-keeps-nothing",
        script="plain",
        places=(place("pbc", "bn_cnn", epochs=8),),
        edits=(
            ("def block(", BY_HAND),
            ("        nn.BatchNorm2d(out_channels),\n", "        BatchNorm(out_channels),\n"),
        ),
        begins=None,
        images=("trashnet", "pbc"),
        networks=("bn_cnn",),
        source="d2l.ai's batch_norm returns moving averages; not assigned, they stay 0, 1",
    ),
    Guise(
        name="outliers-pass-through-the-same-norms",
        script="iterations",
        places=(place("trashnet", "resnet18", steps=150),),
        edits=(
            (
                "        loss = criterion(logits, y)\n        optimizer",
                "        outliers = model(torch.randint_like(x, 0, 65536))\n"
                "        uniform = -outliers.log_softmax(dim=1).mean()\n"
                "        loss = criterion(logits, y) + 0.1 * uniform\n        optimizer",
            ),
        ),
        begins=None,
        images=("trashnet", "pbc"),
        networks=("resnet18", "bn_cnn"),
    ),
)
