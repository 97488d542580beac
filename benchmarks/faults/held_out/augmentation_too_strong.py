from compose import Guise, place

AFFINE = "        transforms.RandomAffine(degrees=10, translate=(0.1, 0.1)),\n"

GUISES = (
    Guise(
        name="a-tenth-of-jitter-given-as-a-range",
        script="transforms",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                AFFINE,
                AFFINE + "        transforms.ColorJitter(brightness=(0.0, 0.1), "
                "contrast=(0.0, 0.1)),\n",
            ),
        ),
        cure=(
            (
                AFFINE,
                AFFINE + "        transforms.ColorJitter(brightness=0.1, contrast=0.1),\n",
            ),
        ),
        accepts=("inputs-constant",),
        networks=("tutorial_cnn", "vgg", "mlp"),
        source="a number is a deviation from 1, a pair is the range of the factor itself",
    ),
)
