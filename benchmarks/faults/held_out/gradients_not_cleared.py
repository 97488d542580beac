from compose import Guise, place
from edits import LEARN_BY_SGD, SGD_SETS

GUISES = (
    Guise(
        name="two-optimizers-one-cleared",
        script="iterations",
        places=(place("digits", "tutorial_cnn", steps=270, lr=0.05),),
        around=(
            (
                "    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, "
                "weight_decay=args.weight_decay)\n",
                "    *body, weight, bias = model.parameters()\n"
                "    optimizer = torch.optim.SGD(body, lr=args.lr, momentum=0.9)\n"
                "    head_optimizer = torch.optim.SGD([weight, bias], lr=0.01, momentum=0.9)\n",
            ),
            (
                "        optimizer.step()\n",
                "        optimizer.step()\n        head_optimizer.step()\n",
            ),
        ),
        edits=(
            (
                "        optimizer.zero_grad(set_to_none=True)\n",
                "        head_optimizer.zero_grad(set_to_none=True)\n",
            ),
        ),
        cure=(
            (
                "        optimizer.zero_grad(set_to_none=True)\n",
                "        optimizer.zero_grad(set_to_none=True)\n"
                "        head_optimizer.zero_grad(set_to_none=True)\n",
            ),
        ),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
)
