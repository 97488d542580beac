from compose import Guise, place

GUISES = (
    Guise(
        name="crops-of-nothing",
        script="transforms",
        places=(place("trashnet", "tutorial_cnn", epochs=8), place("digits", "vgg", epochs=6)),
        edits=(
            (
                "        transforms.RandomAffine(degrees=10, translate=(0.1, 0.1)),\n",
                "        transforms.RandomAffine(degrees=180, translate=(0.9, 0.9), "
                "scale=(0.1, 3.0)),\n",
            ),
        ),
    ),
)
