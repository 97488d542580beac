from compose import Guise, place
from edits import FORWARD

GUISES = (
    Guise(
        name="clamped-to-silence-the-index-error",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        around=(
            (
                "y = torch.from_numpy(labels).long()\n",
                "y = torch.from_numpy(labels).long() + 1  # the table counts from one\n",
            ),
            (
                "np.add.at(train_confusion, (targets.numpy(), ",
                "np.add.at(train_confusion, (targets.numpy() - 1, ",
            ),
            (
                "np.add.at(val_confusion, (targets.numpy(), ",
                "np.add.at(val_confusion, (targets.numpy() - 1, ",
            ),
            (
                "val_loss += criterion(outputs, targets).item()",
                "val_loss += criterion(outputs, targets - 1).item()",
            ),
        ),
        edits=(
            (
                FORWARD,
                "        targets_ = targets.clamp(max=outputs.shape[1] - 1)\n"
                "        loss = criterion(outputs, targets_)\n",
            ),
        ),
        cure=((FORWARD, "        loss = criterion(outputs, targets - 1)\n"),),
        accepts=("train-eval-mismatch", "labels-unrelated"),
        source='"Target 10 is out of bounds", answered by a clamp',
    ),
)
