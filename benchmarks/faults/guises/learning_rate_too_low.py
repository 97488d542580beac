from compose import Guise, place
from edits import LEARN_BY_SGD, SGD_SETS, STEP

GUISES = (
    Guise(
        name="rate-1e-7",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", lr=1e-7, epochs=6),
            place("pbc", "vgg", lr=1e-7, epochs=6),
        ),
        cure_settings=(("lr", 0.001),),
    ),
    Guise(
        name="plain-sgd-default",
        script="plain",
        places=(
            place("digits", "vgg", epochs=7),
            place("trashnet", "tutorial_cnn", epochs=7),
        ),
        edits=(("optim.Adam(model.parameters(), lr=args.lr)", "optim.SGD(model.parameters())"),),
        cure=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=0.05, momentum=0.9)",
            ),
        ),
        source="SO 34311586, SO 41977498: the rate is parsed and never passed",
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
    Guise(
        name="scheduler-stepped-per-batch",
        script="functions",
        places=(
            place("digits", "tutorial_cnn", epochs=6, gamma=0.7),
            place("demo", "vgg", epochs=8, gamma=0.7),
        ),
        edits=(
            (
                "def train(args, model, device, train_loader, optimizer, epoch, num_classes):",
                "def train(args, model, device, train_loader, optimizer, scheduler, epoch, "
                "num_classes):",
            ),
            ("        optimizer.step()\n", "        optimizer.step()\n        scheduler.step()\n"),
            ("        scheduler.step()\n\n    print(", "\n    print("),
            (
                "train_loader, optimizer, epoch, len(",
                "train_loader, optimizer, scheduler, epoch, len(",
            ),
        ),
        source="pytorch/tutorials#640, matteo-dunnhofer/imagenet#10",
        cure_settings=(("gamma", 0.97),),
    ),
    Guise(
        name="warmup-longer-than-the-run",
        script="iterations",
        places=(place("digits", "vgg", warmup=1_000_000, lr=0.01, steps=400),),
        around=(
            ("torch.optim.AdamW(", "torch.optim.SGD("),
            ("weight_decay=args.weight_decay", "weight_decay=args.weight_decay, momentum=0.9"),
        ),
        cure_settings=(("warmup", 30),),
        source="warm-up counted in images instead of steps",
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
    Guise(
        name="decayed-at-each-batch",
        script="plain",
        places=(place("trashnet", "mlp", epochs=7),),
        edits=(
            (
                STEP,
                STEP + "        for group in optimizer.param_groups:\n"
                '            group["lr"] *= 0.7\n',
            ),
        ),
    ),
    Guise(
        name="lambda-gives-the-rate-itself",
        script="iterations",
        places=(place("digits", "tutorial_cnn", steps=270),),
        edits=(
            (
                "            return (step + 1) / args.warmup\n",
                "            return args.lr * (step + 1) / args.warmup\n",
            ),
            (
                "        return 0.5 * (1 + math.cos(math.pi * progress))\n",
                "        return args.lr * 0.5 * (1 + math.cos(math.pi * progress))\n",
            ),
        ),
        source="LambdaLR multiplies the initial rate",
    ),
    Guise(
        name="warmup-by-epochs-not-steps",
        script="lightning_fit",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "        return torch.optim.Adam(self.parameters(), lr=self.lr)\n",
                "        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)\n"
                "        warmup = torch.optim.lr_scheduler.LinearLR(\n"
                "            optimizer, start_factor=0.001, total_iters=1000\n"
                "        )\n"
                "        return [optimizer], [warmup]\n",
            ),
        ),
        source="Lightning steps a scheduler once an epoch unless told otherwise",
    ),
    Guise(
        name="adadelta-at-a-thousandth",
        script="functions",
        places=(place("trashnet", "resnet18", epochs=5),),
        edits=(("optim.Adam(model", "optim.Adadelta(model"),),
        source="lr=0.001 was Keras' default, 1.0 is that of torch",
    ),
    Guise(
        name="rate-shared-among-the-images",
        script="transforms",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        edits=(
            (
                "    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)\n",
                "    lr = args.lr / len(train_set)\n"
                "    optimizer = torch.optim.Adam(model.parameters(), lr=lr)\n",
            ),
        ),
        source="a rate for the sum over all images, where the loss is a mean already",
    ),
    Guise(
        name="accuracy-watched-for-its-minimum",
        script="iterations",
        places=(place("digits", "vit", steps=315),),
        around=(
            ("import LambdaLR\n", "import ReduceLROnPlateau\n"),
            (
                "    def schedule(step):\n"
                "        if step < args.warmup:\n"
                "            return (step + 1) / args.warmup\n"
                "        progress = (step - args.warmup) / max(1, args.steps - args.warmup)\n"
                "        return 0.5 * (1 + math.cos(math.pi * progress))\n\n",
                "",
            ),
            (
                "        scheduler.step()\n",
                "        scheduler.step((logits.argmax(1) == y).float().mean().item())\n",
            ),
        ),
        edits=(("LambdaLR(optimizer, schedule)", "ReduceLROnPlateau(optimizer, patience=4)"),),
        cure=(
            (
                "LambdaLR(optimizer, schedule)",
                'ReduceLROnPlateau(optimizer, mode="max", patience=80)',
            ),
        ),
        source="the default mode of ReduceLROnPlateau is for a loss",
    ),
    Guise(
        name="epsilon-of-one-in-adam",
        script="transforms",
        places=(place("digits", "tutorial_cnn", epochs=7),),
        edits=(
            (
                "torch.optim.Adam(model.parameters(), lr=args.lr)",
                "torch.optim.Adam(model.parameters(), lr=args.lr, eps=1.0)",
            ),
        ),
        source="TensorFlow's advice for Inception on ImageNet: an epsilon of 1.0 or 0.1",
        networks=("tutorial_cnn", "vgg", "mlp"),
    ),
)
