from compose import Guise, place
from edits import FORWARD, LOSS

CALL = "        outputs = model(inputs)\n" + FORWARD

FAST = "torch.func.functional_call(model, fast_weights, (inputs,))"

GUISES = (
    Guise(
        name="network-built-again",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", epochs=6),
            place("trashnet", "resnet18", epochs=5),
        ),
        edits=(
            (
                "lr=args.lr)\n\nfor epoch",
                "lr=args.lr)\n\nmodel = Net(X.shape[1], len(classes), X.shape[2])\n\nfor epoch",
            ),
        ),
        source="spro/practical-pytorch#9",
    ),
    Guise(
        name="another-instance-in-lightning",
        script="lightning_fit",
        places=(place("digits", "vgg", epochs=6),),
        edits=(
            (
                "torch.optim.Adam(self.parameters(), lr=self.lr)",
                "torch.optim.Adam(Net(1, 10, 16).parameters(), lr=self.lr)",
            ),
        ),
        source="Lightning-AI/pytorch-lightning#10822",
    ),
    Guise(
        name="head-replaced-after-optimizer",
        script="plain",
        places=(place("digits", "bn_cnn", epochs=6),),
        edits=(
            (
                "optimizer = optim.Adam(model.parameters(), lr=args.lr)\n",
                "for parameter in model.features.parameters():\n"
                "    parameter.requires_grad = False\n"
                "optimizer = optim.Adam(model.fc.parameters(), lr=args.lr)\n"
                "model.fc = nn.Linear(48, len(classes))\n",
            ),
        ),
        networks=("bn_cnn",),
    ),
    Guise(
        name="groups-filtered-by-name",
        script="iterations",
        places=(place("demo", "vgg", steps=400), place("digits", "vit", steps=300)),
        edits=(
            (
                "    optimizer = torch.optim.AdamW(",
                "    no_decay = [p for name, p in model.named_parameters() if "
                'name.endswith("running_mean")]\n'
                "    decay = [p for name, p in model.named_parameters() if "
                'name.startswith("module.")]\n'
                "    optimizer = torch.optim.AdamW(",
            ),
            (
                "model.parameters(), lr=args.lr, weight_decay=args.weight_decay",
                '[{"params": decay}, {"params": no_decay, "weight_decay": 0.0}],\n'
                "        lr=args.lr,\n        weight_decay=args.weight_decay,\n",
            ),
        ),
        source="bubbliiiing/detr-pytorch#6",
    ),
    Guise(
        name="copied-after-the-optimizer",
        script="plain",
        places=(place("digits", "vit", epochs=7),),
        edits=(
            (
                "lr=args.lr)\n\nfor epoch",
                "lr=args.lr)\nuntrained, model = model, copy.deepcopy(model)\n\nfor epoch",
            ),
            ("import argparse\n", "import argparse\nimport copy\n"),
        ),
    ),
    Guise(
        name="parameters-of-the-first-layer",
        script="iterations",
        places=(place("trashnet", "mlp", steps=250),),
        edits=(
            (
                "torch.optim.AdamW(model.parameters(), lr",
                "torch.optim.AdamW(list(model.parameters())[-1:], lr",
            ),
        ),
    ),
    Guise(
        name="generator-used-up-by-counting",
        script="plain",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "optimizer = optim.Adam(model.parameters(), lr=args.lr)\n",
                "parameters = model.parameters()\n"
                'print(f"{sum(p.numel() for p in parameters)} parameters")\n'
                'optimizer = optim.Adam([{"params": parameters}], lr=args.lr)\n',
            ),
        ),
    ),
    Guise(
        name="state-assigned-after-the-optimizer",
        script="functions",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        edits=(
            (
                "    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)\n",
                "    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)\n"
                "    start = {name: value.clone() for name, value in model.state_dict().items()}\n"
                "    model.load_state_dict(start, assign=True)\n",
            ),
        ),
    ),
    Guise(
        name="networks-in-a-plain-list",
        script="lightning_fit",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "        self.model = Net(in_channels, num_classes, side)\n",
                "        self.members = [Net(in_channels, num_classes, side)]\n"
                "        self.shares = torch.nn.Parameter(torch.ones(1))\n",
            ),
            (
                "        return self.model(x)\n",
                "        return sum(s * net(x) for s, net in zip(self.shares, self.members))\n",
            ),
        ),
        source="an ensemble without ModuleList",
    ),
    Guise(
        name="head-made-anew-in-forward",
        script="hf_trainer",
        places=(place("digits", "vgg", epochs=7),),
        around=(
            (
                "        self.backbone = Net(in_channels, num_labels, side)\n",
                "        self.backbone = Net(in_channels, 64, side)\n"
                "        self.num_labels = num_labels\n",
            ),
        ),
        edits=(
            (
                "        logits = self.backbone(pixel_values)\n",
                "        features = self.backbone(pixel_values)\n"
                "        logits = nn.Linear(features.shape[1], self.num_labels)(features)\n",
            ),
        ),
        cure=(
            (
                "        self.num_labels = num_labels\n",
                "        self.num_labels = num_labels\n        self.head = nn.Linear(64, "
                "num_labels)\n",
            ),
            (
                "        logits = self.backbone(pixel_values)\n",
                "        features = self.backbone(pixel_values)\n        logits = "
                "self.head(features)\n",
            ),
        ),
    ),
    Guise(
        name="only-those-that-have-a-gradient",
        script="transforms",
        places=(place("trashnet", "vit", epochs=7),),
        edits=(
            (
                "    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)\n",
                "    used = [p for p in model.parameters() if p.grad is not None]\n"
                '    optimizer = torch.optim.Adam([{"params": used}], lr=args.lr)\n',
            ),
        ),
    ),
    Guise(
        name="fast-weights-beside-the-optimizer",
        script="plain",
        places=(place("digits", "resnet18", epochs=3),),
        edits=(
            (
                LOSS,
                "fast_weights = {\n"
                "    name: weight.detach().clone().requires_grad_()\n"
                "    for name, weight in model.named_parameters()\n"
                "}\n" + LOSS,
            ),
            (CALL, CALL.replace("model(inputs)", FAST)),
        ),
        cure=(
            (LOSS, "fast_weights = dict(model.named_parameters())\n" + LOSS),
            (CALL, CALL.replace("model(inputs)", FAST)),
        ),
        source="functional calls as in meta-learning: the optimizer holds the slow weights",
    ),
)
