from compose import Guise, place
from edits import BALANCED, FORWARD, LOSS

SAMPLER = (
    "counts = np.bincount(labels[:n_train], minlength=len(classes))\n"
    "weights = torch.tensor(1.0 / counts, dtype=torch.float)\n"
    "sampler = torch.utils.data.WeightedRandomSampler(weights[y[:n_train]], n_train)\n"
    "train_loader = DataLoader(train_set, batch_size=args.batch_size, sampler=sampler)\n"
)

TRAIN_SET = "    train_set = Images(images[train_idx], labels[train_idx], train_transform)\n"

GUISES = (
    Guise(
        name="sampler-and-weights",
        script="plain",
        places=(place("pbc", "vgg", epochs=7), place("pbc", "tutorial_cnn", epochs=7)),
        around=(
            (
                "train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)\n",
                SAMPLER,
            ),
        ),
        edits=(
            (
                "criterion = nn.CrossEntropyLoss()",
                "criterion = nn.CrossEntropyLoss(weight=weights / weights.mean())",
            ),
        ),
        images=("pbc", "digits_rare"),
        accepts=("loss-weights-wrong",),
        networks=("tutorial_cnn", "vgg"),
    ),
    Guise(
        name="repeated-files-and-weights",
        script="plain",
        places=(place("pbc", "tutorial_cnn", epochs=7),),
        around=(
            (
                "train_set = TensorDataset(X[:n_train], y[:n_train])\n",
                "counts = np.bincount(labels[:n_train], minlength=len(classes))\n"
                "times = (counts.max() / counts[labels[:n_train]]).round().astype(int)\n"
                "rows = np.repeat(np.arange(n_train), times)\n"
                "rows = np.random.permutation(rows)[:n_train]\n"
                "train_set = TensorDataset(X[rows], y[rows])\n",
            ),
        ),
        edits=(
            (
                LOSS,
                "weights = torch.tensor(n_train / counts, dtype=torch.float)\n"
                "criterion = nn.CrossEntropyLoss(weight=weights)",
            ),
        ),
        accepts=("loss-weights-wrong",),
        images=("pbc", "digits_rare"),
        networks=("tutorial_cnn", "vgg"),
    ),
    Guise(
        name="sampler-and-adjusted-logits",
        script="plain",
        places=(place("digits_rare", "tutorial_cnn", epochs=12), place("pbc", "vgg", epochs=8)),
        around=(BALANCED,),
        edits=(
            (
                LOSS,
                "log_prior = torch.tensor(2 * np.log(counts / n_train)).float()\n" + LOSS,
            ),
            (FORWARD, "        loss = criterion(outputs + log_prior, targets)\n"),
        ),
        accepts=("loss-weights-wrong",),
        images=("pbc", "digits_rare"),
        networks=("tutorial_cnn", "vgg"),
    ),
    Guise(
        name="balanced-batches-weighted-image-by-image",
        script="plain",
        places=(place("pbc", "tutorial_cnn", epochs=8), place("digits_rare", "vgg", epochs=16)),
        around=(BALANCED,),
        edits=(
            (
                FORWARD,
                "        losses = nn.functional.cross_entropy(outputs, targets, "
                'reduction="none")\n'
                "        effective = (1 - 0.9999 ** counts[targets.numpy()]) / (1 - 0.9999)\n"
                "        importance = torch.tensor(1 / effective).float()\n"
                "        loss = (losses * importance).sum() / importance.sum()\n",
            ),
        ),
        accepts=("loss-weights-wrong",),
        images=("pbc", "digits_rare"),
        networks=("tutorial_cnn", "vgg"),
        source="effective numbers of samples on top of a balanced sampler",
    ),
    Guise(
        name="weighted-in-the-loss-and-image-by-image",
        script="lightning_fit",
        places=(place("pbc", "tutorial_cnn", epochs=8),),
        around=(
            (
                "        self.lr = lr\n",
                "        self.lr = lr\n"
                '        self.register_buffer("class_weights", class_weights)\n',
            ),
            ("num_classes, side, lr):", "num_classes, side, lr, class_weights):"),
            (
                "    model = LitClassifier(x.shape[1], len(classes), x.shape[2], args.lr)\n",
                "    frequency = y[:split].bincount(minlength=len(classes)) / split\n"
                "    weights = 1 / (len(classes) * frequency)\n"
                "    model = LitClassifier(\n"
                "        x.shape[1], len(classes), x.shape[2], args.lr, weights\n"
                "    )\n",
            ),
            (
                "        loss = F.cross_entropy(logits, y)\n        for target, prediction in "
                "zip(y.tolist(), logits.argmax(1).tolist()):\n            self.train_confusion",
                "        losses = F.cross_entropy(logits, y, weight=self.class_weights, "
                'reduction="none")\n'
                "        loss = losses.mean()\n        for target, prediction in "
                "zip(y.tolist(), logits.argmax(1).tolist()):\n            self.train_confusion",
            ),
        ),
        edits=(
            (
                "        loss = losses.mean()\n",
                "        importance = self.class_weights[y]\n"
                "        loss = (importance * losses).sum() / importance.sum()\n",
            ),
        ),
        accepts=("loss-weights-wrong",),
        images=("pbc", "digits_rare"),
        networks=("tutorial_cnn", "vgg"),
    ),
    Guise(
        name="copies-made-and-sampler-of-the-old-counts",
        script="functions",
        places=(place("pbc", "vgg", epochs=8, gamma=0.97),),
        around=(
            ("import torch\n", "import numpy as np\nimport torch\n"),
            (
                "    train_loader = DataLoader(train_dataset, batch_size=args.batch_size, "
                "shuffle=True)\n",
                "    indices = np.array(train_dataset.indices)\n"
                "    counts = np.bincount(labels[indices], minlength=len(classes))\n"
                "    copies = (counts.max() / counts[labels[indices]]).round().astype(int)\n"
                "    train_dataset.indices = np.repeat(indices, copies).tolist()\n"
                "    sampler = torch.utils.data.RandomSampler(\n"
                "        train_dataset, num_samples=len(indices)\n"
                "    )\n"
                "    train_loader = DataLoader(train_dataset, batch_size=args.batch_size, "
                "sampler=sampler)\n",
            ),
        ),
        edits=(
            (
                "    sampler = torch.utils.data.RandomSampler(\n"
                "        train_dataset, num_samples=len(indices)\n"
                "    )\n",
                "    per_image = 1.0 / counts[labels[train_dataset.indices]]\n"
                "    sampler = torch.utils.data.WeightedRandomSampler(per_image, len(indices))\n",
            ),
        ),
        images=("pbc", "digits_rare"),
        networks=("tutorial_cnn", "vgg"),
    ),
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
