from compose import Guise, place
from edits import WITHOUT_NORM

GUISES = (
    Guise(
        name="drawn-around-one-as-for-batchnorm",
        script="hf_trainer",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        edits=(
            (
                "def confusion_matrix(",
                "def init_weights(module):\n"
                "    if isinstance(module, (nn.Conv2d, nn.Linear)):\n"
                "        nn.init.normal_(module.weight, 1.0, 0.02)\n"
                "        nn.init.zeros_(module.bias)\n\n\n"
                "def confusion_matrix(",
            ),
            (
                "    training_args = TrainingArguments(\n",
                "    model.apply(init_weights)\n    training_args = TrainingArguments(\n",
            ),
        ),
        accepts=("dead-units",),
        networks=WITHOUT_NORM,
        source="DCGAN's weights_init: mean 1 is for BatchNorm, mean 0 for convolutions",
    ),
    Guise(
        name="zero-gamma-in-every-norm",
        script="iterations",
        places=(place("trashnet", "resnet18", steps=150),),
        edits=(
            (
                "    optimizer = torch.optim.AdamW(",
                "    for module in model.modules():\n"
                "        if isinstance(module, nn.BatchNorm2d):\n"
                "            nn.init.zeros_(module.weight)\n"
                "    optimizer = torch.optim.AdamW(",
            ),
        ),
        accepts=("dead-units",),
        networks=("resnet18",),
        source="zero_init_residual is for the last norm of a block",
    ),
)
