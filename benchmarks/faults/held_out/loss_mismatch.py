from compose import Guise, place
from edits import FORWARD, LOSS

GUISES = (
    Guise(
        name="kl-of-raw-outputs",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (LOSS, 'criterion = nn.KLDivLoss(reduction="batchmean")'),
            (
                FORWARD,
                "        truth = nn.functional.one_hot(targets, len(classes)).float()\n"
                "        loss = criterion(outputs, truth)\n",
            ),
            (
                "val_loss += criterion(outputs, targets).item()",
                "val_loss += criterion(outputs, torch.eye(len(classes))[targets]).item()",
            ),
        ),
    ),
    Guise(
        name="sign-lost",
        script="plain",
        places=(place("pbc", "resnet18", epochs=4),),
        edits=(
            (
                FORWARD,
                "        chosen = outputs.log_softmax(1).gather(1, targets.unsqueeze(1))\n"
                "        loss = chosen.mean()\n",
            ),
        ),
    ),
)
