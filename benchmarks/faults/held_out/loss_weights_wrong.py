from compose import Guise, place
from edits import BALANCED, LOSS

GUISES = (
    Guise(
        name="a-power-of-ten-a-class",
        script="plain",
        places=(place("trashnet", "mlp", epochs=7),),
        edits=(
            (
                LOSS,
                "weights = 10.0 ** torch.arange(len(classes))  # by priority\n"
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
        cure=(BALANCED,),
    ),
)
