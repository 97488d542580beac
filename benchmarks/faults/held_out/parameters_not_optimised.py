from compose import Guise, place

OPTIMIZER = "    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)\n"
NORMED = (
    "    for module in list(model.modules()):\n"
    "        if isinstance(module, (nn.Conv2d, nn.Linear)):\n"
    "            weight_norm(module)\n"
)

GUISES = (
    Guise(
        name="weight-norm-after-the-optimizer",
        script="transforms",
        places=(place("digits", "mlp", epochs=6),),
        around=(
            (
                "from torch.utils.data import DataLoader, Dataset\n",
                "from torch.nn.utils.parametrizations import weight_norm\n"
                "from torch.utils.data import DataLoader, Dataset\n",
            ),
        ),
        edits=((OPTIMIZER, OPTIMIZER + NORMED),),
        cure=((OPTIMIZER, NORMED + OPTIMIZER),),
        networks=("tutorial_cnn", "vgg", "mlp"),
        source="weight_norm puts two new parameters in the place of the weight",
    ),
)
