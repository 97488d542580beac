from compose import Guise, place
from edits import STEP

GUISES = (
    Guise(
        name="step-without-brackets",
        script="plain",
        places=(place("digits", "resnet18", epochs=3),),
        edits=((STEP, "        optimizer.step\n"),),
    ),
)
