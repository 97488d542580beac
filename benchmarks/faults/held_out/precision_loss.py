from compose import Guise, place
from edits import FORWARD, LOSS

VAL = "            outputs = model(inputs)\n            val_loss"

GUISES = (
    Guise(
        name="bfloat16-throughout",
        script="plain",
        places=(place("digits", "mlp", lr=0.0001, epochs=12),),
        edits=(
            (LOSS, "model = model.bfloat16()\n" + LOSS),
            (
                "        outputs = model(inputs)\n" + FORWARD,
                "        outputs = model(inputs.bfloat16())\n" + FORWARD,
            ),
            (VAL, VAL.replace("inputs", "inputs.bfloat16()")),
        ),
        accepts=("learning-rate-too-low",),
        networks=("mlp", "tutorial_cnn"),
    ),
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
