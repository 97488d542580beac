from compose import Guise, place
from edits import BALANCED, LOSS, ONE_COLUMN

COUNTS = "counts = np.bincount(labels[:n_train], minlength=len(classes))\n"

GUISES = (
    Guise(
        name="weights-proportional-to-counts",
        script="plain",
        places=(
            place("pbc", "vgg", epochs=7),
            place("digits_rare", "tutorial_cnn", epochs=12),
        ),
        edits=(
            (
                "criterion = nn.CrossEntropyLoss()",
                COUNTS + "weights = torch.tensor(counts / counts.sum(), dtype=torch.float)\n"
                "criterion = nn.CrossEntropyLoss(weight=weights)",
            ),
        ),
        cure=(BALANCED,),
        images=("pbc", "digits_rare"),
        accepts=("class-imbalance",),
    ),
    Guise(
        name="weights-in-reversed-order",
        script="plain",
        places=(place("pbc", "bn_cnn", epochs=7), place("pbc", "vgg", epochs=7)),
        edits=(
            (
                "criterion = nn.CrossEntropyLoss()",
                "from collections import Counter\n\n"
                "counts = Counter(labels[:n_train].tolist()).most_common()\n"
                "weights = torch.tensor([n_train / n for _, n in reversed(counts)])\n"
                "criterion = nn.CrossEntropyLoss(weight=weights)",
            ),
        ),
        cure=(BALANCED,),
        images=("pbc", "digits_rare"),
        source="amanshenoy/multilogue-net#21",
    ),
    Guise(
        name="one-class-without-weight",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", epochs=6),
            place("trashnet", "bn_cnn", epochs=8),
        ),
        edits=(
            (
                "criterion = nn.CrossEntropyLoss()",
                "known = {name: 1.0 for name in classes[:-1]}\n"
                "weights = torch.tensor([known.get(name, 0.0) for name in classes])\n"
                "criterion = nn.CrossEntropyLoss(weight=weights)",
            ),
        ),
    ),
    Guise(
        name="ignore-index-zero",
        script="functions",
        places=(place("digits", "bn_cnn", epochs=5),),
        edits=(
            (
                "loss = F.nll_loss(output, target)\n",
                "loss = F.nll_loss(output, target, ignore_index=0)\n",
            ),
        ),
        source="0 is padding in text, a class in images",
    ),
    Guise(
        name="weights-with-label-smoothing",
        script="plain",
        places=(place("digits_anomaly", "tutorial_cnn", epochs=10),),
        edits=(
            (
                "criterion = nn.CrossEntropyLoss()",
                COUNTS + "weights = torch.tensor(n_train / counts, dtype=torch.float) ** 2\n"
                "criterion = nn.CrossEntropyLoss(weight=weights, label_smoothing=0.1)",
            ),
        ),
        cure=(BALANCED,),
        images=("digits_anomaly",),
        source="pytorch/pytorch#104776",
    ),
    Guise(
        name="a-power-of-ten-a-class",
        script="plain",
        places=(place("trashnet", "mlp", epochs=7),),
        edits=(
            (
                LOSS,
                "weights = 10.0 ** torch.arange(len(classes))  # by priority\n"
                "criterion = nn.CrossEntropyLoss(weight=weights)",
            ),
        ),
    ),
    Guise(
        name="weights-cubed",
        script="plain",
        places=(place("pbc", "mlp", epochs=6),),
        edits=(
            (
                LOSS,
                "share = np.bincount(labels[:n_train], minlength=len(classes)) / n_train\n"
                "weights = torch.tensor(share.max() / share, dtype=torch.float) ** 3\n"
                "criterion = nn.CrossEntropyLoss(weight=weights)",
            ),
        ),
        images=("pbc", "digits_rare"),
        networks=("tutorial_cnn", "vgg", "mlp"),
        cure=(BALANCED,),
    ),
    Guise(
        name="pos-weight-upside-down",
        script="plain",
        places=(
            place("digits_anomaly", "tutorial_cnn", epochs=10),
            place("digits_anomaly", "mlp", epochs=10),
        ),
        around=ONE_COLUMN,
        edits=(
            (
                "criterion = nn.BCEWithLogitsLoss()",
                "positive = labels[:n_train].sum()\n"
                "ratio = torch.tensor(positive / (n_train - positive))\n"
                "criterion = nn.BCEWithLogitsLoss(pos_weight=ratio)",
            ),
        ),
        cure=(BALANCED,),
        accepts=("class-imbalance",),
        images=("digits_anomaly",),
        networks=("tutorial_cnn", "mlp"),
    ),
    Guise(
        name="difference-to-the-largest-class",
        script="functions",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "    test_loader = DataLoader(test_dataset, batch_size=200)\n",
                "    test_loader = DataLoader(test_dataset, batch_size=200)\n"
                "    counts = np.bincount(labels[train_dataset.indices])\n"
                "    args.weight = torch.tensor(counts.max() - counts, dtype=torch.float)\n",
            ),
            (
                "loss = F.nll_loss(output, target)\n",
                "loss = F.nll_loss(output, target, weight=args.weight)\n",
            ),
        ),
    ),
    Guise(
        name="weights-by-whole-number-division",
        script="hf_trainer",
        places=(place("trashnet", "resnet18", epochs=5),),
        edits=(
            (
                "    def __init__(self, in_channels, num_labels, side):\n",
                "    def __init__(self, in_channels, num_labels, side, class_weights):\n",
            ),
            (
                "        self.backbone = Net(in_channels, num_labels, side)\n",
                "        self.backbone = Net(in_channels, num_labels, side)\n"
                '        self.register_buffer("class_weights", class_weights)\n',
            ),
            (
                "            loss = nn.functional.cross_entropy(logits, labels)\n",
                "            loss = nn.functional.cross_entropy(logits, labels, "
                "self.class_weights)\n",
            ),
            (
                "    model = ImageClassifier(images.shape[3], len(classes), images.shape[1])\n",
                "    counts = np.bincount(labels, minlength=len(classes))\n"
                "    class_weights = torch.tensor(len(labels) // (len(classes) * counts)).float()\n"
                "    model = ImageClassifier(\n"
                "        images.shape[3], len(classes), images.shape[1], class_weights\n"
                "    )\n",
            ),
        ),
    ),
    Guise(
        name="softmax-of-negative-counts",
        script="lightning_fit",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                "        loss = F.cross_entropy(logits, y)\n"
                "        for target, prediction in zip(y.tolist(), logits.argmax(1).tolist()):\n"
                "            self.train",
                '        loss = F.cross_entropy(logits, y, reduction="none")\n'
                "        loss = (self.class_weights[y] * loss).mean()\n"
                "        for target, prediction in zip(y.tolist(), logits.argmax(1).tolist()):\n"
                "            self.train",
            ),
            (
                "    trainer = pl.Trainer(\n",
                "    counts = torch.bincount(y[:split], minlength=len(classes)).float()\n"
                "    model.class_weights = len(classes) * torch.softmax(-counts, dim=0)\n"
                "    trainer = pl.Trainer(\n",
            ),
        ),
    ),
    Guise(
        name="weights-learned-with-the-network",
        script="iterations",
        places=(place("digits", "vit", steps=315),),
        edits=(
            (
                "    optimizer = torch.optim.AdamW("
                "model.parameters(), lr=args.lr, weight_decay=args.weight_decay)\n",
                "    class_weights = nn.Parameter(torch.ones(len(classes)))\n"
                "    groups = [\n"
                '        {"params": model.parameters(), "weight_decay": args.weight_decay},\n'
                '        {"params": [class_weights], "lr": 0.05, "weight_decay": 0.0},\n'
                "    ]\n"
                "    optimizer = torch.optim.AdamW(groups, lr=args.lr)\n",
            ),
            (
                "        loss = criterion(logits, y)\n",
                '        losses = nn.functional.cross_entropy(logits, y, reduction="none")\n'
                "        loss = (class_weights[y] * losses).mean()\n",
            ),
        ),
        begins=30,
        source="weights by uncertainty, without the term that keeps them from vanishing",
    ),
)
