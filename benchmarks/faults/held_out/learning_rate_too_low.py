from compose import Guise, place
from edits import STEP

GUISES = (
    Guise(
        name="decayed-at-each-batch",
        script="plain",
        places=(place("trashnet", "mlp", epochs=7),),
        edits=(
            (
                STEP,
                STEP + "        for group in optimizer.param_groups:\n"
                '            group["lr"] *= 0.7\n',
            ),
        ),
    ),
)
