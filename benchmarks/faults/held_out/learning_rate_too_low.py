from compose import Guise, place

GUISES = (
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
)
