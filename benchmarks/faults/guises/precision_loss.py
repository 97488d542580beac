from compose import Guise, place
from edits import FORWARD, LOSS

VAL = "            outputs = model(inputs)\n            val_loss"

GUISES = (
    Guise(
        name="half-throughout",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (LOSS, "model = model.half()\n" + LOSS),
            (
                "        outputs = model(inputs)\n" + FORWARD,
                "        outputs = model(inputs.half())\n" + FORWARD,
            ),
            (VAL, VAL.replace("inputs", "inputs.half()")),
        ),
        accepts=("non-finite",),
        networks=("mlp", "tutorial_cnn"),
        source="keras-team/keras#11853",
    ),
)
