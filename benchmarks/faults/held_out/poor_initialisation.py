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
        name="normal-of-one",
        script="functions",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "    optimizer = optim.Adam(",
                "    for p in model.parameters():\n"
                "        torch.nn.init.normal_(p)\n"
                "    optimizer = optim.Adam(",
            ),
        ),
        accepts=("learning-rate-too-low",),
        networks=("vgg", "tutorial_cnn"),
    ),
)
