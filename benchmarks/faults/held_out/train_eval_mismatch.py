from compose import Guise, place
from edits import CENTRED

GUISES = (
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
)
