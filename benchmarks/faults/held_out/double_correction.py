from compose import Guise, place

TRAIN_SET = "    train_set = Images(images[train_idx], labels[train_idx], train_transform)\n"

GUISES = (
    Guise(
        name="resampled-table-and-weights-of-the-whole",
        script="transforms",
        places=(place("pbc", "tutorial_cnn", epochs=8),),
        around=(
            (
                "from torch.utils.data import DataLoader, Dataset\n",
                "from sklearn.utils import resample\n"
                "from sklearn.utils.class_weight import compute_class_weight\n"
                "from torch.utils.data import DataLoader, Dataset\n",
            ),
            (
                TRAIN_SET,
                "    groups = [train_idx[labels[train_idx] == c] for c in range(len(classes))]\n"
                "    each = len(train_idx) // len(classes)\n"
                "    groups = [resample(g, n_samples=each, random_state=1) for g in groups]\n"
                "    train_idx = np.concatenate(groups)\n" + TRAIN_SET,
            ),
        ),
        edits=(
            (
                "    criterion = nn.CrossEntropyLoss()\n",
                "    balance = compute_class_weight(\n"
                '        "balanced", classes=np.arange(len(classes)), y=labels\n'
                "    )\n"
                "    criterion = nn.CrossEntropyLoss(weight=torch.tensor(balance).float())\n",
            ),
        ),
        accepts=("loss-weights-wrong",),
        images=("pbc", "digits_rare"),
        networks=("tutorial_cnn", "vgg"),
    ),
)
