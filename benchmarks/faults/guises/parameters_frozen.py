from compose import Guise, place
from edits import LOSS

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
)
