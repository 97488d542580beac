from compose import Guise, place

GUISES = (
    Guise(
        name="shrinkage-for-relu",
        script="functions",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "nn.Linear(features, width), nn.ReLU()]",
                "nn.Linear(features, width), nn.Hardshrink(lambd=5.0)]",
            ),
        ),
        networks=("mlp",),
    ),
    Guise(
        name="rare-object-prior-in-every-layer",
        script="hf_trainer",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "    training_args = TrainingArguments(\n",
                "    for module in model.modules():\n"
                "        if isinstance(module, (nn.Conv2d, nn.Linear)):\n"
                "            nn.init.constant_(module.bias, float(-np.log(0.99 / 0.01)))\n"
                "    training_args = TrainingArguments(\n",
            ),
        ),
        accepts=("poor-initialisation",),
        networks=("tutorial_cnn", "vgg", "mlp"),
        source="the prior bias of a focal-loss head, given to all layers",
    ),
)
