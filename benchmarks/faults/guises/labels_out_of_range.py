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
)
