from compose import Guise, place
from edits import LOSS

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
        name="momentum-of-another-library",
        script="plain",
        places=(
            place("digits", "bn_cnn", epochs=6),
            place("pbc", "bn_cnn", epochs=6),
        ),
        edits=(("nn.BatchNorm2d(out_channels)", "nn.BatchNorm2d(out_channels, momentum=0.0001)"),),
        networks=("bn_cnn",),
        begins=None,
        source="facebookresearch/higher#55: running statistics (almost) never updated",
    ),
    Guise(
        name="statistics-reset-before-evaluation",
        script="functions",
        places=(place("pbc", "resnet18", epochs=4), place("trashnet", "resnet18", epochs=5)),
        edits=(
            (
                "    model.eval()\n",
                "    for module in model.modules():\n"
                "        if isinstance(module, torch.nn.BatchNorm2d):\n"
                "            module.reset_running_stats()\n"
                "    model.eval()\n",
            ),
        ),
        networks=("resnet18", "bn_cnn"),
        begins=None,
        images=("trashnet", "pbc"),
    ),
    Guise(
        name="momentum-zero-to-freeze",
        script="plain",
        places=(place("trashnet", "resnet18", epochs=5),),
        edits=(
            (
                LOSS,
                "for module in model.modules():\n"
                "    if isinstance(module, nn.BatchNorm2d):\n"
                "        module.momentum = 0.0\n" + LOSS,
            ),
        ),
        begins=None,
        images=("trashnet", "pbc"),
        networks=("resnet18", "bn_cnn"),
    ),
    Guise(
        name="statistics-of-a-look-at-the-shapes",
        script="plain",
        places=(place("pbc", "resnet18", epochs=4),),
        edits=(
            (
                "    model.eval()\n",
                "    for module in model.modules():\n"
                "        if isinstance(module, nn.BatchNorm2d):\n"
                "            module.momentum = 1.0\n"
                "    with torch.no_grad():\n"
                "        model(255 * torch.rand(2, *X.shape[1:]))  # look at the shapes\n"
                "    model.eval()\n",
            ),
        ),
        begins=None,
        images=("trashnet", "pbc"),
        networks=("resnet18", "bn_cnn"),
        source="a summary of the model taken in training mode",
    ),
    Guise(
        name="average-of-weights-without-buffers",
        script="plain",
        places=(place("trashnet", "bn_cnn", epochs=8),),
        edits=(
            ("import argparse\n", "import argparse\nimport copy\n"),
            (LOSS, "averaged = copy.deepcopy(model)\n" + LOSS),
            (
                "    model.eval()\n",
                "    with torch.no_grad():\n"
                "        for mean, p in zip(averaged.parameters(), model.parameters()):\n"
                "            mean.lerp_(p, 0.9)\n"
                "    averaged.eval()\n",
            ),
            (
                "            outputs = model(inputs)\n            val_loss",
                "            outputs = averaged(inputs)\n            val_loss",
            ),
        ),
        begins=None,
        images=("trashnet", "pbc"),
        networks=("resnet18", "bn_cnn"),
        source="an EMA that copies parameters() and leaves running statistics as they began",
    ),
    Guise(
        name="training-mode-one-by-one",
        script="transforms",
        places=(place("trashnet", "bn_cnn", epochs=8),),
        edits=(
            ("        self.model.train(training)\n", "        self.model.train()\n"),
            (
                "DataLoader(val_set, batch_size=64, shuffle=False)",
                "DataLoader(val_set, batch_size=1, shuffle=False)",
            ),
        ),
        begins=None,
        images=("trashnet", "pbc"),
        networks=("resnet18", "bn_cnn"),
        source="Cadene/pretrained-models.pytorch#4",
    ),
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
    Guise(
        name="functional-call-with-copied-buffers",
        script="iterations",
        places=(place("pbc", "bn_cnn", steps=376),),
        around=(
            (
                "        perm = torch.randperm(len(x))\n",
                "        per_image = 1.0 / y.bincount()[y]\n"
                "        perm = torch.multinomial(per_image, len(x), replacement=True)\n",
            ),
        ),
        edits=(
            (
                "    stream = batches(x_train, y_train, args.batch_size)\n",
                "    stream = batches(x_train, y_train, args.batch_size)\n"
                "    params = dict(model.named_parameters())\n"
                "    buffers = {name: b.clone() for name, b in model.named_buffers()}\n",
            ),
            (
                "        logits = model(x)\n        loss",
                "        logits = torch.func.functional_call(model, (params, buffers), (x,))\n"
                "        loss",
            ),
        ),
        begins=None,
        images=("trashnet", "pbc"),
        networks=("resnet18", "bn_cnn"),
        source="facebookresearch/higher#55",
    ),
)
