from compose import Guise, place
from edits import SGD_SETS

GUISES = (
    Guise(
        name="sigmoid-of-a-multi-label-template",
        script="lightning_fit",
        places=(place("digits", "tutorial_cnn", lr=0.01, epochs=6),),
        around=(
            (
                "torch.optim.Adam(self.parameters(), lr=self.lr)",
                "torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)",
            ),
        ),
        edits=(
            ("        return self.model(x)\n", "        return torch.sigmoid(self.model(x))\n"),
        ),
        accepts=("softmax-before-loss",),
        networks=("tutorial_cnn",),
        images=SGD_SETS,
    ),
)
