from compose import Guise, place
from edits import LOSS

GUISES = (
    Guise(
        name="constant-0.01",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                LOSS,
                "for parameter in model.parameters():\n"
                "    nn.init.constant_(parameter, 0.01)\n" + LOSS,
            ),
        ),
        networks=("tutorial_cnn", "vgg", "mlp"),
    ),
    Guise(
        name="normal-of-two",
        script="plain",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                LOSS,
                "for parameter in model.parameters():\n"
                "    nn.init.normal_(parameter, std=2.0)\n" + LOSS,
            ),
        ),
        accepts=("learning-rate-too-low",),
        networks=("vgg",),
    ),
)
