from compose import Guise, place
from edits import BALANCED, FORWARD

GUISES = (
    Guise(
        name="balanced-batches-weighted-image-by-image",
        script="plain",
        places=(place("pbc", "tutorial_cnn", epochs=8), place("digits_rare", "vgg", epochs=16)),
        around=(BALANCED,),
        edits=(
            (
                FORWARD,
                "        losses = nn.functional.cross_entropy(outputs, targets, "
                'reduction="none")\n'
                "        effective = (1 - 0.9999 ** counts[targets.numpy()]) / (1 - 0.9999)\n"
                "        importance = torch.tensor(1 / effective).float()\n"
                "        loss = (losses * importance).sum() / importance.sum()\n",
            ),
        ),
        accepts=("loss-weights-wrong",),
        images=("pbc", "digits_rare"),
        networks=("tutorial_cnn", "vgg"),
        source="effective numbers of samples on top of a balanced sampler",
    ),
)
