from compose import Guise, place

GUISES = (
    Guise(
        name="labels-by-position-images-by-permutation",
        script="iterations",
        places=(place("trashnet", "mlp", steps=210),),
        edits=(
            (
                "            yield x[idx], y[idx]\n",
                "            yield x[idx], y[start : start + batch_size]\n",
            ),
        ),
    ),
    Guise(
        name="split-of-images-table-of-labels",
        script="transforms",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            ("Images(images[train_idx], labels[train_idx], ", "Images(images[train_idx], labels, "),
            ("Images(images[val_idx], labels[val_idx], ", "Images(images[val_idx], labels, "),
        ),
    ),
)
