from compose import Guise, place
from edits import FORWARD, OPTIMIZER, SGD, SGD_SETS

GUISES = (
    Guise(
        name="penalty-by-hand",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                FORWARD,
                FORWARD
                + "        loss = loss + 0.25 * sum(p.pow(2).sum() for p in model.parameters())\n",
            ),
        ),
        networks=("mlp", "tutorial_cnn", "vgg"),
        source="keras-team/keras#1895: l2(0.25)",
    ),
    Guise(
        name="arguments-by-position",
        script="plain",
        places=(place("digits", "vgg", lr=0.01, epochs=7),),
        edits=((OPTIMIZER, "optim.SGD(model.parameters(), args.lr, 0.9, 0, 0.9)"),),
        cure=(SGD,),
        networks=("tutorial_cnn", "mlp"),
        source="the fifth argument of SGD is weight_decay",
        images=SGD_SETS,
    ),
)
