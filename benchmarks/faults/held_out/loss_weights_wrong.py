from compose import Guise, place

GUISES = (
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
)
