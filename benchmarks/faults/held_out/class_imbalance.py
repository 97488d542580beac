from compose import Guise, place

GUISES = (
    Guise(
        name="offline-copies-of-the-first-folders",
        script="hf_trainer",
        places=(place("digits", "tutorial_cnn", lr=0.0005),),
        around=(("        num_train_epochs=args.epochs,\n", "        max_steps=300,\n"),),
        edits=(
            (
                "    train_dataset = ImageDataset(images[order[:split]], labels[order[:split]])\n",
                "    first = order[:split][labels[order[:split]] < len(classes) // 2]\n"
                "    rows = np.concatenate([order[:split], np.repeat(first, 29)])\n"
                "    train_dataset = ImageDataset(images[rows], labels[rows])\n",
            ),
        ),
        accepts=("undertrained", "learning-rate-too-low"),
        images=("digits", "trashnet"),
        networks=("tutorial_cnn", "vgg"),
        source="offline augmentation that ran through half of the folders",
    ),
)
