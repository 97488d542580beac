from compose import Guise, place
from edits import LOADER

GUISES = (
    Guise(
        name="two-loaders-zipped",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                LOADER,
                LOADER + "image_loader = DataLoader(X[:n_train], args.batch_size, shuffle=True)\n"
                "label_loader = DataLoader(y[:n_train], args.batch_size, shuffle=True)\n",
            ),
            (
                "    for inputs, targets in train_loader:\n",
                "    for inputs, targets in zip(image_loader, label_loader):\n",
            ),
        ),
    ),
    Guise(
        name="shuffled-for-a-look",
        script="hf_trainer",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "    order = np.random.permutation(len(images))\n",
                "    some = labels.ravel()\n"
                "    np.random.shuffle(some)\n"
                '    print("some labels:", some[:10])\n'
                "    order = np.random.permutation(len(images))\n",
            ),
        ),
        source="ravel() is a view",
    ),
    Guise(
        name="rows-sorted-for-the-image-store",
        script="transforms",
        places=(place("trashnet", "resnet18", epochs=5),),
        edits=(
            ("Images(images[train_idx], ", "Images(images[np.sort(train_idx)], "),
            ("Images(images[val_idx], ", "Images(images[np.sort(val_idx)], "),
        ),
        source="h5py takes indices in increasing order only",
    ),
)
