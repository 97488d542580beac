from compose import Guise, place
from edits import LEARN_BY_SGD, SGD_SETS

GUISES = (
    Guise(
        name="no-zero-grad",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", lr=0.05, epochs=6),
            place("pbc", "vgg", lr=0.05, epochs=6),
        ),
        around=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(("        optimizer.zero_grad()\n", ""),),
        source="SO 60335387",
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
    Guise(
        name="zero-grad-in-an-untaken-branch",
        script="transforms",
        places=(place("digits", "tutorial_cnn", lr=0.1, epochs=6),),
        around=(
            (
                "torch.optim.Adam(model.parameters(), lr=args.lr)",
                "torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(
            (
                "                    self.optimizer.zero_grad()\n",
                "                    if self.model.training is False:\n"
                "                        self.optimizer.zero_grad()\n",
            ),
        ),
        source="NirAharon/BoT-SORT#85",
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
        cure_settings=(("lr", 0.05),),
    ),
)
