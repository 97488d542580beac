from compose import Guise, place
from edits import STEP

START = ("\n\nfor epoch", "\naverage_loss = 0.0\n\nfor epoch")
GUARDED = (
    "        if loss.item() < 3 * average_loss:\n"
    "            optimizer.step()\n"
    "            average_loss = 0.95 * average_loss + 0.05 * loss.item()\n"
)

GUISES = (
    Guise(
        name="guard-against-spikes-from-zero",
        script="plain",
        places=(place("trashnet", "bn_cnn", epochs=8),),
        edits=(START, (STEP, GUARDED)),
        cure=(
            ("\n\nfor epoch", "\naverage_loss = float(np.log(len(classes)))\n\nfor epoch"),
            (STEP, GUARDED),
        ),
        source="batches with a spike of the loss are skipped, by a running mean",
    ),
)
