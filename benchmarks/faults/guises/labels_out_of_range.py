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
)
