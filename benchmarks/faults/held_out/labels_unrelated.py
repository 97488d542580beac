from compose import Guise, place

GUISES = (
    Guise(
        name="names-sorted-as-text",
        script="plain",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "images, labels, classes = load_images(args.root)\n",
                "images, labels, classes = load_images(args.root)\n"
                "# 10.png stands before 2.png in a listing; the table counts 0, 1, 2, ...\n"
                "images = images[sorted(range(len(images)), key=str)]\n",
            ),
        ),
        images=("digits", "demo_32"),
    ),
)
