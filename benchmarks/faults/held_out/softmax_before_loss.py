from compose import Guise, place
from edits import LEARN_BY_SGD, SGD_SETS

FOCAL = (
    "class FocalLoss(nn.Module):\n"
    "    def forward(self, logits, labels):\n"
    "        probs = logits.softmax(dim=1)\n"
    '        ce = nn.functional.cross_entropy(probs, labels, reduction="none")\n'
    "        return ((1 - torch.exp(-ce)) ** 2 * ce).mean()\n\n\n"
)

GUISES = (
    Guise(
        name="votes-of-two-views-averaged",
        script="iterations",
        places=(place("trashnet", "tutorial_cnn", lr=0.02, steps=240),),
        around=(
            ("torch.optim.AdamW(", "torch.optim.SGD("),
            ("weight_decay=args.weight_decay", "weight_decay=5e-4, momentum=0.9"),
        ),
        edits=(
            (
                "        logits = model(x)\n",
                "        views = torch.stack([model(x), model(x.roll(1, dims=3))])\n"
                "        logits = views.softmax(dim=-1).mean(dim=0)\n",
            ),
        ),
        cure=(
            (
                "        logits = model(x)\n",
                "        views = torch.stack([model(x), model(x.roll(1, dims=3))])\n"
                "        logits = views.mean(dim=0)\n",
            ),
        ),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
    Guise(
        name="focal-loss-of-probabilities",
        script="transforms",
        places=(place("digits", "tutorial_cnn", lr=0.02, epochs=6),),
        around=(
            ("    criterion = nn.CrossEntropyLoss()\n", "    criterion = FocalLoss()\n"),
            (
                "torch.optim.Adam(model.parameters(), lr=args.lr)",
                "torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(("class Trainer:\n", FOCAL + "class Trainer:\n"),),
        cure=(
            (
                "class Trainer:\n",
                FOCAL.replace("cross_entropy(probs", "cross_entropy(logits") + "class Trainer:\n",
            ),
        ),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
)
