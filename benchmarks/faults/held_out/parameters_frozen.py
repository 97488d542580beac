from compose import Guise, place
from edits import LOSS

GUISES = (
    Guise(
        name="all-but-the-last-tensor",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                LOSS,
                "for parameter in list(model.parameters())[:-1]:  # train the head only\n"
                "    parameter.requires_grad = False\n" + LOSS,
            ),
        ),
    ),
)
