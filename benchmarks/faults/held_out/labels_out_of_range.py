from compose import Guise, place

GUISES = (
    Guise(
        name="ids-brought-to-zero-one",
        script="iterations",
        places=(place("digits", "mlp", steps=270),),
        edits=(
            (
                "    y = torch.tensor(labels, dtype=torch.long)\n",
                "    y = torch.tensor(labels / len(classes), dtype=torch.long)\n",
            ),
        ),
        accepts=("labels-unrelated",),
    ),
    Guise(
        name="encoder-fitted-to-each-split",
        script="plain",
        places=(place("digits", "vgg", epochs=7),),
        around=(
            (
                "val_set = TensorDataset(X[n_train:], y[n_train:])\n",
                "kept = y[n_train:] > 0  # nobody collected new ones of the first class\n"
                "val_set = TensorDataset(X[n_train:][kept], y[n_train:][kept])\n",
            ),
        ),
        edits=(
            (
                "y[n_train:][kept])\n",
                "y[n_train:][kept].unique(return_inverse=True)[1])\n",
            ),
        ),
        begins=None,
        accepts=("train-eval-mismatch",),
        images=("digits", "trashnet"),
        source="LabelEncoder().fit_transform on validation labels",
    ),
)
