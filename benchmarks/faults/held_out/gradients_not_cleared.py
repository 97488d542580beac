from compose import Guise, place
from edits import STEP

ZERO = "        optimizer.zero_grad()\n"

GUISES = (
    Guise(
        name="descent-by-hand-adds-up",
        script="plain",
        places=(place("digits", "tutorial_cnn", lr=0.1, epochs=6),),
        around=(
            ("import torch.optim as optim\n", ""),
            ("optimizer = optim.Adam(model.parameters(), lr=args.lr)\n", ""),
            (
                STEP,
                "        with torch.no_grad():\n"
                "            for parameter in model.parameters():\n"
                "                parameter -= args.lr * parameter.grad\n",
            ),
        ),
        edits=((ZERO, ""),),
        cure=((ZERO, "        model.zero_grad()\n"),),
        networks=("tutorial_cnn", "mlp"),
        images=("digits", "trashnet"),
        source="gradient descent written out, without the line that sets gradients to zero",
    ),
)
