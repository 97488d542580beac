from compose import Guise, place

GUISES = (
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
)
