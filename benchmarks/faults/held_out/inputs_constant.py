from compose import Guise, place
from edits import CENTRED

GUISES = (
    Guise(
        name="mean-over-the-only-channel",
        script="plain",
        places=(place("digits", "vgg", epochs=7),),
        around=(
            (
                CENTRED,
                "X = X.mean(dim=1, keepdim=True)  # grey\n"
                "X = (X - X.mean(dim=(2, 3), keepdim=True)) / 0.25\n",
            ),
        ),
        edits=(("(X - X.mean(dim=(2, 3), keepdim=True))", "(X - X.mean(dim=1, keepdim=True))"),),
        images=("digits",),
        source="each image less its mean, over the wrong axis",
    ),
)
