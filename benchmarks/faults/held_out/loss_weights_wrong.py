from compose import Guise, place
from edits import LOSS

GUISES = (
    Guise(
        name="a-thousandfold-for-the-first",
        script="plain",
        places=(place("trashnet", "mlp", epochs=7),),
        edits=(
            (
                LOSS,
                "weights = torch.ones(len(classes))\nweights[0] = 1000.0\n"
                "criterion = nn.CrossEntropyLoss(weight=weights)",
            ),
        ),
    ),
    Guise(
        name="weights-cubed",
        script="plain",
        places=(place("pbc", "mlp", epochs=6),),
        edits=(
            (
                LOSS,
                "share = np.bincount(labels[:n_train], minlength=len(classes)) / n_train\n"
                "weights = torch.tensor(share.max() / share, dtype=torch.float) ** 3\n"
                "criterion = nn.CrossEntropyLoss(weight=weights)",
            ),
        ),
        images=("pbc", "digits_rare"),
        networks=("tutorial_cnn", "vgg", "mlp"),
    ),
)
