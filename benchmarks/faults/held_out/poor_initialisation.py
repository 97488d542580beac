from compose import Guise, place
from edits import LOSS, SGD, SGD_SETS, WITHOUT_NORM

GUISES = (
    Guise(
        name="uniform-without-bounds",
        script="functions",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "    optimizer = optim.Adam(",
                "    for parameter in model.parameters():\n"
                "        torch.nn.init.uniform_(parameter)\n"
                "    optimizer = optim.Adam(",
            ),
        ),
        accepts=("dead-units",),
        networks=WITHOUT_NORM,
        source="nn.init.uniform_ draws from 0 to 1",
    ),
    Guise(
        name="root-of-fan-in-forgotten",
        script="plain",
        places=(place("digits", "tutorial_cnn", lr=0.02, epochs=6),),
        around=(SGD,),
        edits=(
            (
                LOSS,
                "for module in model.modules():\n"
                "    if isinstance(module, (nn.Conv2d, nn.Linear)):\n"
                "        bound = 1 / module.weight[0].numel()\n"
                "        nn.init.uniform_(module.weight, -bound, bound)\n"
                "        nn.init.zeros_(module.bias)\n" + LOSS,
            ),
        ),
        accepts=("learning-rate-too-low",),
        networks=("tutorial_cnn", "mlp"),
        images=SGD_SETS,
    ),
)
