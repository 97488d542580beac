from compose import Guise, place
from edits import CENTRED

VAL = "    [\n        transforms.ToTensor(),\n"

GUISES = (
    Guise(
        name="validation-not-scaled",
        script="plain",
        places=(
            place("trashnet", "bn_cnn", epochs=7),
            place("pbc", "bn_cnn", epochs=6),
        ),
        edits=(
            ("X = (X - 0.5) / 0.5\n", "X_val = X[n_train:] * 255\nX = (X - 0.5) / 0.5\n"),
            ("TensorDataset(X[n_train:], y[n_train:])", "TensorDataset(X_val, y[n_train:])"),
        ),
        begins=None,
        images=("trashnet", "pbc"),
        networks=("resnet18", "bn_cnn"),
    ),
    Guise(
        name="validation-divided-twice",
        script="transforms",
        places=(place("digits", "tutorial_cnn", epochs=5), place("trashnet", "bn_cnn", epochs=7)),
        edits=(
            (
                "    [\n        transforms.ToTensor(),\n",
                "    [\n        transforms.ToTensor(),\n"
                "        transforms.Lambda(lambda x: x / 255),\n",
            ),
        ),
        begins=None,
        source="SO 59325381",
    ),
    Guise(
        name="mean-of-another-library-in-validation",
        script="plain",
        places=(place("trashnet", "resnet18", epochs=5),),
        edits=(
            (CENTRED, "X_val = X[n_train:] * 255 - 117\n" + CENTRED),
            ("TensorDataset(X[n_train:], y[n_train:])", "TensorDataset(X_val, y[n_train:])"),
        ),
        begins=None,
        images=("trashnet", "pbc"),
        networks=("resnet18", "bn_cnn"),
        source="osmr/imgclsmob#51",
    ),
    Guise(
        name="inverted-in-validation",
        script="transforms",
        places=(place("digits", "vgg", epochs=7),),
        edits=((VAL, VAL.replace("[\n", "[\n        transforms.RandomInvert(p=1.0),\n")),),
        begins=None,
        source="ink on paper against paper on ink",
    ),
    Guise(
        name="another-colour-space-in-validation",
        script="transforms",
        places=(place("pbc", "resnet18", epochs=4),),
        edits=(
            (
                VAL,
                VAL.replace(
                    "[\n", '[\n        transforms.Lambda(lambda image: image.convert("HSV")),\n'
                ),
            ),
        ),
        begins=None,
        images=("trashnet", "pbc"),
        networks=("resnet18", "bn_cnn"),
    ),
)
