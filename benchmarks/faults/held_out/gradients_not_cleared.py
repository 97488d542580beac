from compose import Guise, place
from edits import LEARN_BY_SGD, SGD, SGD_SETS

ZERO = "        optimizer.zero_grad()\n"

GUISES = (
    Guise(
        name="zero-grad-without-brackets",
        script="plain",
        places=(place("digits", "mlp", lr=0.05, epochs=6),),
        around=(SGD,),
        edits=((ZERO, "        optimizer.zero_grad\n"),),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
    Guise(
        name="zero-grad-once-an-epoch",
        script="plain",
        places=(place("trashnet", "vgg", lr=0.02, epochs=14),),
        around=(SGD,),
        edits=(
            (ZERO, ""),
            ("    running_loss = 0.0\n", "    running_loss = 0.0\n    optimizer.zero_grad()\n"),
        ),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
)
