from compose import Guise, place
from edits import LOSS

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
)
