from compose import Guise, place
from edits import BALANCED, LOADER

TRAIN_LOADER = (
    "    train_loader = DataLoader(train_dataset, batch_size=args.batch_size, shuffle=True)\n"
)

LIT_LOADER = (
    "    train_loader = DataLoader(\n"
    "        TensorDataset(x[:split], y[:split]), batch_size=args.batch_size, shuffle=True\n"
    "    )\n"
)

GUISES = (
    Guise(
        name="two-classes-30-to-1",
        script="plain",
        places=(
            place("digits_anomaly", "tutorial_cnn", lr=0.0002, epochs=8),
            place("digits_anomaly", "bn_cnn", lr=0.0002, epochs=6),
        ),
        cure=(BALANCED,),
        images=("digits_anomaly",),
        networks=("tutorial_cnn", "bn_cnn"),
        accepts=("undertrained", "learning-rate-too-low"),
        source="abhuse/polyloss-pytorch#5",
    ),
    Guise(
        name="long-tail-plain-loss",
        script="plain",
        places=(
            place("pbc", "vgg", lr=0.0003, epochs=8),
            place("pbc", "tutorial_cnn", lr=0.0005, epochs=8),
            place("digits_rare", "vgg", lr=0.0002, epochs=16),
        ),
        cure=(BALANCED,),
        images=("pbc", "digits_rare"),
        networks=("tutorial_cnn", "vgg"),
        accepts=("undertrained", "learning-rate-too-low"),
    ),
    Guise(
        name="demo-by-the-tutorial",
        script="plain",
        places=(place("demo", "tutorial_cnn", lr=0.001, epochs=10),),
        around=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        accepts=("undertrained", "learning-rate-too-low"),
        drawn=False,
    ),
    Guise(
        name="every-other-class-thinned",
        script="plain",
        places=(place("digits", "tutorial_cnn", lr=0.0003, epochs=9),),
        around=(
            (
                "images, labels = images[order], labels[order]\n",
                "images, labels = images[order], labels[order]\n"
                "collected = (labels % 2 == 0) | (np.arange(len(labels)) % 14 == 0)\n"
                "images, labels = images[collected], labels[collected]\n",
            ),
        ),
        cure=(BALANCED,),
        accepts=("undertrained", "learning-rate-too-low"),
        images=("digits", "trashnet"),
        networks=("tutorial_cnn", "vgg"),
    ),
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
    Guise(
        name="one-kind-against-all-others",
        script="lightning_fit",
        places=(place("digits", "tutorial_cnn", lr=0.0002, epochs=6),),
        around=(
            (
                "    images, labels, classes = load_images(args.root)\n",
                "    images, labels, classes = load_images(args.root)\n"
                "    wanted = (labels == 2).astype(int)\n"
                "    found = (wanted == 0) | (np.arange(len(labels)) % 5 == 0)\n"
                "    images, labels = images[found], wanted[found]\n"
                '    classes = ["rest", classes[2]]\n',
            ),
            (
                "import pytorch_lightning as pl\n",
                "import numpy as np\nimport pytorch_lightning as pl\n",
            ),
        ),
        cure=(
            (
                LIT_LOADER,
                "    per_image = 1.0 / y[:split].bincount()[y[:split]]\n"
                "    sampler = torch.utils.data.WeightedRandomSampler(per_image, split)\n"
                + LIT_LOADER.replace("shuffle=True", "sampler=sampler"),
            ),
        ),
        accepts=("undertrained", "learning-rate-too-low"),
        images=("digits", "trashnet"),
        networks=("tutorial_cnn", "vgg"),
    ),
    Guise(
        name="sampler-draws-the-frequent-more",
        script="plain",
        places=(place("pbc", "tutorial_cnn", epochs=8), place("digits_rare", "vgg", epochs=16)),
        edits=(
            (
                LOADER,
                "counts = np.bincount(labels[:n_train], minlength=len(classes))\n"
                "per_image = counts[labels[:n_train]] / n_train\n"
                "by_class = torch.utils.data.WeightedRandomSampler(per_image, n_train)\n"
                "train_loader = DataLoader(train_set, batch_size=args.batch_size, "
                "sampler=by_class)\n",
            ),
        ),
        cure=(BALANCED,),
        images=("pbc", "digits_rare"),
        networks=("tutorial_cnn", "vgg"),
    ),
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
