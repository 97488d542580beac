from compose import Guise, place

VAL_SET = "val_set = TensorDataset(X[n_train:], y[n_train:])\n"
OWN = (
    "X_val = torch.from_numpy(images[n_train:]).{axes}.float() / 255\n"
    "val_set = TensorDataset((X_val - 0.5) / 0.5, y[n_train:])\n"
)

GUISES = (
    Guise(
        name="channels-first-by-reshape-in-validation",
        script="plain",
        places=(place("trashnet", "bn_cnn", epochs=8),),
        edits=((VAL_SET, OWN.format(axes="reshape(X[n_train:].shape)")),),
        cure=((VAL_SET, OWN.format(axes="permute(0, 3, 1, 2)")),),
        begins=None,
        images=("trashnet", "demo_32"),
        networks=("bn_cnn", "resnet18", "tutorial_cnn"),
    ),
)
