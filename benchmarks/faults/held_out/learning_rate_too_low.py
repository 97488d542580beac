from compose import Guise, place

GUISES = (
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
)
