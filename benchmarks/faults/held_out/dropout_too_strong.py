from compose import Guise, place

GUISES = (
    Guise(
        name="channels-dropped-behind-every-residual-block",
        script="transforms",
        places=(place("trashnet", "resnet18", epochs=5),),
        edits=(
            (
                "        return F.relu(out + self.shortcut(x))\n",
                "        out = F.relu(out + self.shortcut(x))\n"
                "        return F.dropout2d(out, 0.9, self.training)\n",
            ),
        ),
        networks=("resnet18",),
    ),
    Guise(
        name="dropout-grows-with-the-epochs",
        script="functions",
        places=(place("digits", "vit", epochs=7),),
        edits=(
            (
                "    for epoch in range(1, args.epochs + 1):\n",
                "    for epoch in range(1, args.epochs + 1):\n"
                "        for module in model.modules():\n"
                "            if isinstance(module, torch.nn.Dropout):\n"
                "                module.p = min(0.5 * epoch, 0.99)\n",
            ),
        ),
        begins=45,
        networks=("vit",),
    ),
)
