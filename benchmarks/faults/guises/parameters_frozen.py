from compose import Guise, place
from edits import LOSS

FORWARD = "        logits = model(x)\n        loss"

ATTACK = (
    "        x.requires_grad_()\n"
    "        model.requires_grad_(False)\n"
    "        criterion(model(x), y).backward()\n"
)

PERTURBED = "        x = x + 0.02 * x.grad.sign()\n"

GUISES = (
    Guise(
        name="frozen-and-silenced",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", epochs=6),
            place("pbc", "bn_cnn", epochs=5),
        ),
        edits=(
            (
                "criterion = nn.CrossEntropyLoss()",
                "for param in model.parameters():\n    param.requires_grad = False\n"
                "criterion = nn.CrossEntropyLoss()",
            ),
            (
                "        loss.backward()",
                "        loss.requires_grad_(True)\n        loss.backward()",
            ),
        ),
        accepts=("graph-detached",),
    ),
    Guise(
        name="freeze-spares-the-norm-only",
        script="functions",
        places=(place("digits_fifty", "vgg", epochs=2),),
        edits=(
            (
                "    optimizer = optim.Adam(",
                "    for name, param in model.named_parameters():\n"
                '        param.requires_grad = "bn" in name or name.endswith(".bias")\n'
                "    optimizer = optim.Adam(",
            ),
        ),
        source="PyTorch forum 84911: all but the norms frozen, head included",
    ),
    Guise(
        name="all-but-the-last-tensor",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                LOSS,
                "for parameter in list(model.parameters())[:-1]:  # train the head only\n"
                "    parameter.requires_grad = False\n" + LOSS,
            ),
        ),
    ),
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
    Guise(
        name="thawed-by-an-attribute-of-modules",
        script="functions",
        places=(place("trashnet", "mlp", epochs=7),),
        around=(
            (
                "        optimizer.zero_grad()\n",
                "        optimizer.zero_grad()\n        data.requires_grad_()\n",
            ),
        ),
        edits=(
            (
                "    optimizer = optim.Adam(",
                "    model.requires_grad_(False)\n"
                "    for module in model.modules():\n"
                "        module.requires_grad = True\n"
                "    optimizer = optim.Adam(",
            ),
        ),
        source="requires_grad of a module is an attribute that nobody reads",
    ),
    Guise(
        name="one-tensor-more-every-ten-epochs",
        script="plain",
        places=(place("pbc", "vgg", epochs=8),),
        edits=(
            (
                "    model.train()\n",
                "    model.train()\n"
                "    for depth, parameter in enumerate(reversed(list(model.parameters()))):\n"
                "        parameter.requires_grad = depth <= epoch // 10\n",
            ),
        ),
    ),
    Guise(
        name="not-thawed-after-the-attack",
        script="iterations",
        places=(place("trashnet", "mlp", steps=240),),
        edits=((FORWARD, ATTACK + PERTURBED + FORWARD),),
        cure=((FORWARD, ATTACK + "        model.requires_grad_(True)\n" + PERTURBED + FORWARD),),
        source="adversarial training: the perturbed image hides that no weight asks for a gradient",
    ),
)
