from compose import Guise, place

GUISES = (
    Guise(
        name="left-frozen-for-temperature-scaling",
        script="lightning_fit",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                "        self.model = Net(in_channels, num_classes, side)\n",
                "        self.model = Net(in_channels, num_classes, side).requires_grad_(False)\n"
                "        self.temperature = torch.nn.Parameter(torch.ones(1))\n",
            ),
            ("        return self.model(x)\n", "        return self.model(x) / self.temperature\n"),
        ),
    ),
    Guise(
        name="gradients-cancelled-by-a-name",
        script="iterations",
        places=(place("digits", "vit", steps=315),),
        edits=(
            (
                "        loss.backward()\n",
                "        loss.backward()\n"
                "        for name, parameter in model.named_parameters():\n"
                '            if not name.startswith("last_layer"):\n'
                "                parameter.grad = None  # the backbone stays as it is\n",
            ),
        ),
    ),
)
