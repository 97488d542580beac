from compose import Guise, place
from edits import FORWARD, LEARN_BY_SGD, SGD, SGD_SETS

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
)
