from compose import Guise, place
from edits import FORWARD, LEARN_BY_SGD, SGD, SGD_SETS

FOCAL = (
    "class FocalLoss(nn.Module):\n"
    "    def forward(self, logits, labels):\n"
    "        probs = logits.softmax(dim=1)\n"
    '        ce = nn.functional.cross_entropy(probs, labels, reduction="none")\n'
    "        return ((1 - torch.exp(-ce)) ** 2 * ce).mean()\n\n\n"
)

GUISES = (
    Guise(
        name="softmax-in-forward-sgd",
        script="plain",
        places=(place("digits", "tutorial_cnn", lr=0.01, epochs=7),),
        around=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(("        return x\n", "        return F.softmax(x, dim=1)\n"),),
        source="illiterate/BertClassifier#2",
        images=SGD_SETS,
    ),
    Guise(
        name="softmax-layer",
        script="functions",
        places=(place("pbc", "vgg", epochs=6), place("digits_fifty", "vgg", epochs=2)),
        edits=(
            (
                "            nn.Linear(96, num_classes),\n",
                "            nn.Linear(96, num_classes),\n            nn.Softmax(dim=1),\n",
            ),
        ),
        source="lansinuote/Huggingface_Toturials#6",
    ),
    Guise(
        name="softmax-over-the-batch",
        script="plain",
        places=(place("digits", "tutorial_cnn", lr=0.01, epochs=7),),
        around=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(("        return x\n", "        return F.softmax(x, dim=0)\n"),),
        accepts=("batch-mixed",),
        images=SGD_SETS,
    ),
    Guise(
        name="softmax-in-the-loop",
        script="plain",
        places=(place("digits", "mlp", lr=0.01, epochs=6),),
        around=(SGD,),
        edits=(
            (
                "        outputs = model(inputs)\n" + FORWARD,
                "        outputs = torch.softmax(model(inputs), dim=1)\n" + FORWARD,
            ),
        ),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
    Guise(
        name="softmax-in-the-module",
        script="lightning_fit",
        places=(place("digits", "tutorial_cnn", lr=0.01, epochs=6),),
        around=(
            (
                "torch.optim.Adam(self.parameters(), lr=self.lr)",
                "torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)",
            ),
        ),
        edits=(
            (
                "        return self.model(x)\n",
                "        return torch.nn.Softmax(dim=-1)(self.model(x))\n",
            ),
        ),
        images=SGD_SETS,
        networks=LEARN_BY_SGD,
    ),
    Guise(
        name="probabilities-called-logits",
        script="hf_trainer",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "        logits = self.backbone(pixel_values)\n",
                "        logits = self.backbone(pixel_values).softmax(-1)\n",
            ),
        ),
        networks=("vgg",),
    ),
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
    Guise(
        name="softmax-where-the-loss-wants-its-logarithm",
        script="functions",
        places=(place("digits", "tutorial_cnn", lr=0.01, gamma=0.9, epochs=7),),
        around=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(
            (
                "        output = F.log_softmax(model(data), dim=1)\n        loss",
                "        output = F.softmax(model(data), dim=1)\n        loss",
            ),
            (
                "            output = F.log_softmax(model(data), dim=1)\n            test_loss",
                "            output = F.softmax(model(data), dim=1)\n            test_loss",
            ),
        ),
        accepts=("loss-mismatch",),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
)
