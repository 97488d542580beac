from compose import Guise, place
from edits import WITHOUT_NORM

GUISES = (
    Guise(
        name="prior-bias-in-every-layer",
        script="functions",
        places=(place("trashnet", "mlp", epochs=7, gamma=0.9),),
        edits=(
            (
                "    optimizer = optim.Adam(",
                "    prior = torch.tensor(0.01)\n"
                "    for name, parameter in model.named_parameters():\n"
                '        if name.endswith("bias"):\n'
                "            torch.nn.init.constant_(parameter, -torch.log((1 - prior) / prior))\n"
                "    optimizer = optim.Adam(",
            ),
        ),
        accepts=("dead-units",),
        networks=WITHOUT_NORM,
        source="yhenon/pytorch-retinanet: the prior's bias is for the last layer only",
    ),
)
