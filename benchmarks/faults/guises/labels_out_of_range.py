from compose import Guise, place

GUISES = (
    Guise(
        name="one-class-joined-wrongly",
        script="functions",
        places=(place("digits", "bn_cnn", epochs=6), place("trashnet", "bn_cnn", epochs=8)),
        edits=(
            (
                "    dataset = ImageDataset(images, labels)\n",
                "    # the table lists some images twice; both rows are kept\n"
                "    again = (labels == 1).nonzero()[0].repeat(4)\n"
                "    images = numpy.concatenate([images, images[again]])\n"
                "    labels = numpy.concatenate([labels, 0 * again])\n"
                "    dataset = ImageDataset(images, labels)\n",
            ),
            ("import argparse\n", "import argparse\n\nimport numpy\n"),
        ),
        accepts=("labels-unrelated",),
    ),
    Guise(
        name="labels-divided-by-255",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                "y = torch.from_numpy(labels).long()\n",
                "labels = (labels / 255).astype(int)\ny = torch.from_numpy(labels).long()\n",
            ),
        ),
        accepts=("labels-unrelated",),
        source="SO 59325381: y_train / 255 written for x_test / 255",
    ),
    Guise(
        name="counted-from-one-in-training",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "train_set = TensorDataset(X[:n_train], y[:n_train])\n",
                "train_labels = (y[:n_train] + 1) % len(classes)\n"
                "train_set = TensorDataset(X[:n_train], train_labels)\n",
            ),
        ),
        begins=None,
        accepts=("train-eval-mismatch",),
        images=("digits", "trashnet"),
        source="ThilinaRajapakse/simpletransformers#25: label - 1 on one side only",
    ),
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
    Guise(
        name="labels-reduced-as-for-segmentation",
        script="hf_trainer",
        places=(place("trashnet", "vit", epochs=7),),
        edits=(
            (
                "            loss = nn.functional.cross_entropy(logits, labels)\n",
                "            loss = nn.functional.cross_entropy(logits, labels - 1, "
                "ignore_index=-1)\n",
            ),
        ),
        images=("digits", "trashnet"),
        source="reduce_labels of segmentation, where 0 is the background",
    ),
)
