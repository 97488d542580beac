from compose import Guise, place
from edits import FORWARD, LOSS, STEP

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
    Guise(
        name="fixed-point-after-each-step",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                STEP,
                STEP + "        with torch.no_grad():\n"
                "            for parameter in model.parameters():\n"
                "                parameter.copy_(torch.round(parameter * 64) / 64)\n",
            ),
        ),
        accepts=("learning-rate-too-low",),
        source="weights kept in eight bits, smaller updates rounded away",
    ),
    Guise(
        name="true-sixteen-bits",
        script="lightning_fit",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                '        accelerator="cpu",\n',
                '        accelerator="cpu",\n        precision="16-true",\n',
            ),
        ),
        accepts=("non-finite",),
        networks=("mlp", "tutorial_cnn"),
        source="keras-team/keras#11853",
    ),
)
