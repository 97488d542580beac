from compose import Guise, place

GUISES = (
    Guise(
        name="largest-value-taken-for-its-index",
        script="lightning_fit",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "    y = torch.from_numpy(labels).long()\n",
                "    one_hot = F.one_hot(torch.from_numpy(labels).long(), len(classes))\n"
                "    y = one_hot.max(dim=1)[0]\n",
            ),
        ),
        accepts=("labels-unrelated",),
        source="torch.max returns (values, indices)",
    ),
    Guise(
        name="minus-one-picks-the-last-class",
        script="plain",
        places=(place("digits", "mlp", epochs=14),),
        around=(
            (
                "images, labels, classes = load_images(args.root)\n",
                "images, labels, classes = load_images(args.root)\n"
                "# what nobody has looked at yet stands in the table as -1\n"
                "labels = np.where(np.random.rand(len(labels)) < 0.25, labels, -1)\n",
            ),
        ),
        edits=(
            (
                "y = torch.from_numpy(labels).long()\n",
                "y = torch.from_numpy(np.eye(len(classes))[labels]).argmax(dim=1)\n",
            ),
        ),
        cure=(
            (
                "order = np.random.permutation(len(images))\n",
                "images, labels = images[labels >= 0], labels[labels >= 0]\n"
                "order = np.random.permutation(len(images))\n",
            ),
        ),
        accepts=("labels-unrelated",),
        images=("digits", "trashnet"),
        networks=("resnet18", "mlp"),
    ),
)
