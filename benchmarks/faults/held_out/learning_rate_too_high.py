from compose import Guise, place
from edits import OPTIMIZER

GUISES = (
    Guise(
        name="warmup-multiplied",
        script="iterations",
        places=(place("digits", "vgg", steps=315),),
        edits=(
            (
                "            return (step + 1) / args.warmup\n",
                "            return (step + 1) * args.warmup\n",
            ),
        ),
        networks=("tutorial_cnn", "vgg", "vit", "mlp"),
    ),
    Guise(
        name="smoothing-in-the-place-of-the-rate",
        script="plain",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        edits=((OPTIMIZER, "optim.RMSprop(model.parameters(), 0.99)"),),
        source="the second argument of RMSprop is lr, alpha the third",
    ),
)
