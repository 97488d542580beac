from compose import Guise, place
from edits import LOSS

GUISES = (
    Guise(
        name="momentum-zero-to-freeze",
        script="plain",
        places=(place("trashnet", "resnet18", epochs=5),),
        edits=(
            (
                LOSS,
                "for module in model.modules():\n"
                "    if isinstance(module, nn.BatchNorm2d):\n"
                "        module.momentum = 0.0\n" + LOSS,
            ),
        ),
        begins=None,
        images=("trashnet", "pbc"),
        networks=("resnet18", "bn_cnn"),
    ),
    Guise(
        name="statistics-of-a-look-at-the-shapes",
        script="plain",
        places=(place("pbc", "resnet18", epochs=4),),
        edits=(
            (
                "    model.eval()\n",
                "    for module in model.modules():\n"
                "        if isinstance(module, nn.BatchNorm2d):\n"
                "            module.momentum = 1.0\n"
                "    with torch.no_grad():\n"
                "        model(255 * torch.rand(2, *X.shape[1:]))  # look at the shapes\n"
                "    model.eval()\n",
            ),
        ),
        begins=None,
        images=("trashnet", "pbc"),
        networks=("resnet18", "bn_cnn"),
        source="a summary of the model taken in training mode",
    ),
)
