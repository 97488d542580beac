from compose import Guise, place

TRAINER = "    trainer = Trainer(\n        model=model,\n"
GROUPS = (
    "    layers = list(model.parameters())\n"
    "    groups = [\n"
    '        {{"params": [p], "lr": args.lr {sign} 0.65 ** (len(layers) - 1 - depth)}}\n'
    "        for depth, p in enumerate(layers)\n"
    "    ]\n" + TRAINER + "        optimizers=(torch.optim.AdamW(groups, lr=args.lr), None),\n"
)

GUISES = (
    Guise(
        name="rates-that-grow-towards-the-input",
        script="hf_trainer",
        places=(place("digits", "vgg", lr=0.01, epochs=7),),
        edits=((TRAINER, GROUPS.format(sign="/")),),
        cure=((TRAINER, GROUPS.format(sign="*")),),
        images=("digits", "trashnet"),
        networks=("tutorial_cnn", "vgg"),
        source="a rate for each layer, divided by the decay that should multiply it",
    ),
)
