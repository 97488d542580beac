from compose import Guise, place
from edits import WITHOUT_NORM

HALF = "        transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),\n"
GREY = "        transforms.Normalize((127.5,) * 3, (127.5,) * 3),\n"
TRAIN = "translate=(0.1, 0.1)),\n        transforms.ToTensor(),\n"
VAL = "    [\n        transforms.ToTensor(),\n"

GUISES = (
    Guise(
        name="normalised-by-127.5-behind-totensor",
        script="transforms",
        places=(place("digits", "vgg", epochs=7),),
        edits=((TRAIN + HALF, TRAIN + GREY), (VAL + HALF, VAL + GREY)),
        accepts=("inputs-constant",),
        networks=WITHOUT_NORM,
    ),
    Guise(
        name="figures-of-raw-pixels-on-scaled-ones",
        script="iterations",
        places=(place("digits", "tutorial_cnn", steps=270),),
        edits=(
            (
                "    x = (x - x.mean(axis=(0, 1, 2))) / x.std(axis=(0, 1, 2))\n",
                "    x = (x - images.mean(axis=(0, 1, 2))) / images.std(axis=(0, 1, 2))\n"
                "    x = x.astype(np.float32)\n",
            ),
        ),
        accepts=("inputs-constant",),
        networks=WITHOUT_NORM,
    ),
)
