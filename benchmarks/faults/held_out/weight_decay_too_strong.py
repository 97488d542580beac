from compose import Guise, place

GUISES = (
    Guise(
        name="lasso-on-everything",
        script="functions",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                "        loss = F.nll_loss(output, target)\n",
                "        loss = F.nll_loss(output, target)\n"
                "        loss = loss + 0.1 * sum(p.abs().sum() for p in model.parameters())\n",
            ),
        ),
        networks=("tutorial_cnn", "vgg", "mlp"),
    ),
    Guise(
        name="decay-divided-by-the-rate",
        script="iterations",
        places=(place("digits", "mlp", steps=270),),
        edits=(("weight_decay=args.weight_decay)", "weight_decay=0.5 / args.lr)"),),
        networks=("tutorial_cnn", "vgg", "mlp"),
        source="AdamW multiplies its decay by the rate",
    ),
)
