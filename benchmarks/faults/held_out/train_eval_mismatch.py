from compose import Guise, place

GUISES = (
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
)
