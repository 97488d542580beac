from compose import Guise, place
from edits import CENTRED

GUISES = (
    Guise(
        name="centred-after-a-second-division",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=((CENTRED, "X = (X / 255 - 0.5) / 0.5\n"),),
        networks=("tutorial_cnn", "vgg", "mlp"),
        accepts=("inputs-constant",),
    ),
)
