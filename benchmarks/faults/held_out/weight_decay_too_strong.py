from compose import Guise, place

GUISES = (
    Guise(
        name="decay-for-the-sum-over-images",
        script="hf_trainer",
        places=(place("trashnet", "mlp", epochs=7),),
        edits=(
            (
                "        learning_rate=args.lr,\n",
                "        learning_rate=args.lr,\n        weight_decay=0.5 * len(train_dataset),\n",
            ),
        ),
        networks=("tutorial_cnn", "vgg", "mlp"),
        source="a penalty scaled for a summed loss, beside a mean",
    ),
    Guise(
        name="decoupled-by-hand-without-the-rate",
        script="iterations",
        places=(place("digits", "vit", steps=315),),
        around=(("weight_decay=args.weight_decay)", "weight_decay=0.0)"),),
        edits=(
            (
                "        optimizer.step()\n",
                "        optimizer.step()\n"
                "        with torch.no_grad():\n"
                "            for parameter in model.parameters():\n"
                "                parameter.mul_(1 - args.weight_decay)\n",
            ),
        ),
        source="decoupled decay is multiplied by the learning rate",
    ),
)
