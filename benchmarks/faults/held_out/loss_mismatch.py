from compose import Guise, place
from edits import FORWARD

GUISES = (
    Guise(
        name="focal-factor-turned-round",
        script="plain",
        places=(place("trashnet", "resnet18", epochs=5),),
        edits=(
            (
                FORWARD,
                '        ce = nn.functional.cross_entropy(outputs, targets, reduction="none")\n'
                "        pt = torch.exp(-ce)\n"
                "        loss = (pt**2 * ce).mean()\n",
            ),
        ),
        source="the focal loss weighs by (1 - pt) ** gamma",
    ),
    Guise(
        name="problem-type-regression",
        script="hf_trainer",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "            loss = nn.functional.cross_entropy(logits, labels)\n",
                "            loss = nn.functional.mse_loss(logits[:, 0], labels.float())\n",
            ),
        ),
        source="transformers takes float labels for a regression",
    ),
)
