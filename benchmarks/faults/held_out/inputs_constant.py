from compose import Guise, place

GUISES = (
    Guise(
        name="one-buffer-for-all",
        script="plain",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        edits=(
            (
                "images, labels, classes = load_images(args.root)\n",
                "images, labels, classes = load_images(args.root)\n"
                "buffer, resized = np.empty_like(images[0]), []\n"
                "for image in images:\n"
                "    np.clip(image, 2, 253, out=buffer)\n"
                "    resized.append(buffer)\n"
                "images = np.stack(resized)\n",
            ),
        ),
        source="a buffer written into, and appended without a copy",
    ),
)
