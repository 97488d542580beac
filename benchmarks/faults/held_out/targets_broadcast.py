from compose import Guise, place
from edits import FORWARD, LOSS

GUISES = (
    Guise(
        name="one-hot-of-a-column",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        around=(
            (LOSS, "criterion = nn.MSELoss()"),
            (
                FORWARD,
                "        one_hot = nn.functional.one_hot(targets, len(classes)).float()\n"
                "        loss = criterion(outputs, one_hot)\n",
            ),
            (
                "val_loss += criterion(outputs, targets).item()",
                "val_loss += criterion(outputs, torch.eye(len(classes))[targets]).item()",
            ),
        ),
        edits=(
            (
                "nn.functional.one_hot(targets, len(classes))",
                "nn.functional.one_hot(targets.view(-1, 1), len(classes))",
            ),
        ),
        images=("digits", "trashnet"),
        networks=("tutorial_cnn", "mlp", "vgg"),
    ),
)
