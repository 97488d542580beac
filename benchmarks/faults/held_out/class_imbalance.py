from compose import Guise, place

TRAIN_LOADER = (
    "    train_loader = DataLoader(train_dataset, batch_size=args.batch_size, shuffle=True)\n"
)

GUISES = (
    Guise(
        name="new-classes-hardly-collected",
        script="functions",
        places=(place("digits", "tutorial_cnn", lr=0.0003, epochs=9),),
        around=(
            (
                "    images, labels, classes = load_images(args.root)\n",
                "    images, labels, classes = load_images(args.root)\n"
                "    there = (labels < len(classes) // 2) | (np.arange(len(labels)) % 14 == 0)\n"
                "    images, labels = images[there], labels[there]\n",
            ),
        ),
        cure=(
            (
                TRAIN_LOADER,
                "    seen = labels[train_dataset.indices]\n"
                "    sampler = torch.utils.data.WeightedRandomSampler(\n"
                "        1.0 / np.bincount(seen)[seen], len(seen)\n"
                "    )\n" + TRAIN_LOADER.replace("shuffle=True", "sampler=sampler"),
            ),
        ),
        accepts=("undertrained", "learning-rate-too-low"),
        images=("digits", "trashnet"),
        networks=("tutorial_cnn", "vgg"),
    ),
    Guise(
        name="two-classes-make-the-set",
        script="iterations",
        places=(place("digits", "vgg", lr=0.0002, steps=315),),
        around=(
            (
                "    images, labels, classes = load_images(root)\n",
                "    images, labels, classes = load_images(root)\n"
                "    found = (labels < 2) | (np.arange(len(labels)) % 16 == 0)\n"
                "    images, labels = images[found], labels[found]\n",
            ),
        ),
        cure=(
            (
                "        perm = torch.randperm(len(x))\n",
                "        per_image = 1.0 / y.bincount()[y]\n"
                "        perm = torch.multinomial(per_image, len(x), replacement=True)\n",
            ),
        ),
        accepts=("undertrained", "learning-rate-too-low"),
        images=("digits", "trashnet"),
        networks=("tutorial_cnn", "vgg"),
    ),
)
