from compose import Guise, place
from edits import FORWARD, SGD

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
    ),
)
