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
    Guise(
        name="unsigned-bytes-wrapped-in-validation",
        script="plain",
        places=(place("digits", "vit", epochs=7),),
        edits=(
            (
                "val_set = TensorDataset(X[n_train:], y[n_train:])\n",
                "X_val = torch.from_numpy(images[n_train:] - 128).permute(0, 3, 1, "
                "2).float() / 128\n"
                "val_set = TensorDataset(X_val, y[n_train:])\n",
            ),
        ),
        begins=None,
        source="uint8 less 128 starts again at 255",
    ),
    Guise(
        name="standardised-images-stored-as-bytes",
        script="iterations",
        places=(place("trashnet", "mlp", steps=210),),
        around=(
            (
                "torch.cat([model(part) for part in x.split(200)])",
                "torch.cat([model(part.float()) for part in x.split(200)])",
            ),
        ),
        edits=(
            (
                "    return x[n_val:], y[n_val:], x[:n_val], y[:n_val], classes\n",
                "    return x[n_val:], y[n_val:], x[:n_val].byte(), y[:n_val], classes\n",
            ),
        ),
        begins=None,
        images=("trashnet", "pbc", "demo_32"),
    ),
    Guise(
        name="resized-in-validation-only",
        script="transforms",
        places=(place("digits", "bn_cnn", epochs=6),),
        edits=(
            (
                VAL,
                "    [\n        transforms.Resize((112, 112)),\n        transforms.ToTensor(),\n",
            ),
        ),
        begins=None,
        networks=("bn_cnn", "resnet18", "vgg"),
        source="the validation transform of a template for larger images",
    ),
)
