from compose import Guise, place

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
)
