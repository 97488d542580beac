from compose import Guise, place

GUISES = (
    Guise(
        name="folder-order",
        script="functions",
        places=(place("digits", "tutorial_cnn", epochs=6), place("trashnet", "vgg", epochs=7)),
        edits=(
            (
                "    train_dataset, test_dataset = random_split(dataset, "
                "[len(dataset) - n_test, n_test])\n",
                '    order = labels.argsort(kind="stable")\n'
                "    dataset = ImageDataset(images[order], labels[order])\n"
                "    test_dataset = Subset(dataset, range(0, len(dataset), 5))\n"
                "    train_dataset = Subset(dataset, [i for i in range(len(dataset)) if i % 5])\n",
            ),
            ("DataLoader, Dataset, random_split", "DataLoader, Dataset, Subset"),
            ("batch_size=args.batch_size, shuffle=True", "batch_size=args.batch_size"),
        ),
        source="facebookresearch/fastText#74",
        networks=("tutorial_cnn", "vgg", "resnet18", "vit"),
    ),
    Guise(
        name="sorted-with-batchnorm",
        script="functions",
        places=(place("trashnet", "bn_cnn", epochs=6), place("pbc", "bn_cnn", epochs=6)),
        edits=(
            (
                "    train_dataset, test_dataset = random_split(dataset, "
                "[len(dataset) - n_test, n_test])\n",
                '    order = labels.argsort(kind="stable")\n'
                "    dataset = ImageDataset(images[order], labels[order])\n"
                "    test_dataset = Subset(dataset, range(0, len(dataset), 5))\n"
                "    train_dataset = Subset(dataset, [i for i in range(len(dataset)) if i % 5])\n",
            ),
            ("DataLoader, Dataset, random_split", "DataLoader, Dataset, Subset"),
            ("batch_size=args.batch_size, shuffle=True", "batch_size=args.batch_size"),
        ),
        networks=("resnet18", "bn_cnn"),
        accepts=("batchnorm-mismatch",),
        source="SO 58237726",
        images=("trashnet", "pbc"),
    ),
)
