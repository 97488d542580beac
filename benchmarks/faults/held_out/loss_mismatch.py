from compose import Guise, place
from edits import FORWARD, LOSS

GUISES = (
    Guise(
        name="one-hot-as-a-list-of-ids",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (LOSS, "criterion = nn.MultiLabelMarginLoss()"),
            (
                FORWARD,
                "        one_hot = nn.functional.one_hot(targets, len(classes))\n"
                "        loss = criterion(outputs, one_hot)\n",
            ),
            (
                "            val_loss += criterion(outputs, targets).item()\n",
                "            one_hot = nn.functional.one_hot(targets, len(classes))\n"
                "            val_loss += criterion(outputs, one_hot).item()\n",
            ),
        ),
        source="MultiLabelMarginLoss takes ids of classes, ended by -1",
    ),
    Guise(
        name="hinge-of-zeros-and-ones",
        script="lightning_fit",
        places=(place("trashnet", "mlp", epochs=7),),
        edits=(
            (
                "        return loss\n",
                "        return F.hinge_embedding_loss(logits, F.one_hot(y, self.num_classes))\n",
            ),
        ),
        source="HingeEmbeddingLoss takes distances, and 1 or -1",
    ),
)
