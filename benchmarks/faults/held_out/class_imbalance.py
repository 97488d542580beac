from compose import Guise, place
from edits import BALANCED, LOADER

LIT_LOADER = (
    "    train_loader = DataLoader(\n"
    "        TensorDataset(x[:split], y[:split]), batch_size=args.batch_size, shuffle=True\n"
    "    )\n"
)

GUISES = (
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
)
