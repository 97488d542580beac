from compose import Guise, place

LOSS = "        loss = F.cross_entropy(logits, y)\n"
READ = "        for target, prediction in zip(y.tolist(), logits.argmax(1).tolist()):\n"
NEAREST = READ.replace("argmax", "argmin")
TRAIN = "            self.train_confusion"
VAL = "            self.val_confusion"

GUISES = (
    Guise(
        name="distances-to-prototypes-taken-for-logits",
        script="lightning_fit",
        places=(place("digits", "mlp", epochs=6),),
        around=(
            (
                "        self.model = Net(in_channels, num_classes, side)\n",
                "        self.model = Net(in_channels, 32, side)\n"
                "        self.prototypes = torch.nn.Parameter(torch.randn(num_classes, 32))\n",
            ),
            (
                "        return self.model(x)\n",
                "        return torch.cdist(self.model(x), self.prototypes)\n",
            ),
        ),
        edits=(
            (LOSS + READ + TRAIN, LOSS + NEAREST + TRAIN),
            (LOSS + READ + VAL, LOSS + NEAREST + VAL),
        ),
        cure=(
            (LOSS + READ + TRAIN, LOSS.replace("logits", "-logits") + NEAREST + TRAIN),
            (LOSS + READ + VAL, LOSS.replace("logits", "-logits") + NEAREST + VAL),
        ),
        source="prototypical networks: the logits are the distances with a minus sign",
    ),
)
