from compose import Guise, place
from edits import LOSS

GUISES = (
    Guise(
        name="weights-drawn-below-zero",
        script="plain",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                LOSS,
                "for module in model.modules():\n"
                "    if isinstance(module, (nn.Conv2d, nn.Linear)):\n"
                "        nn.init.uniform_(module.weight, -0.1, 0.0)\n"
                "        nn.init.zeros_(module.bias)\n" + LOSS,
            ),
        ),
        accepts=("poor-initialisation",),
        networks=("tutorial_cnn", "vgg", "mlp"),
    ),
)
