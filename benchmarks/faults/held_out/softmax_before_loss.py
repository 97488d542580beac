from compose import Guise, place
from edits import FORWARD, LEARN_BY_SGD, SGD, SGD_SETS

GUISES = (
    Guise(
        name="softmax-in-the-loop",
        script="plain",
        places=(place("digits", "mlp", lr=0.01, epochs=6),),
        around=(SGD,),
        edits=(
            (
                "        outputs = model(inputs)\n" + FORWARD,
                "        outputs = torch.softmax(model(inputs), dim=1)\n" + FORWARD,
            ),
        ),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
)
