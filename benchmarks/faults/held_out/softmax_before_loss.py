from compose import Guise, place
from edits import LEARN_BY_SGD, SGD_SETS

GUISES = (
    Guise(
        name="softmax-in-the-module",
        script="lightning_fit",
        places=(place("digits", "tutorial_cnn", lr=0.01, epochs=6),),
        around=(
            (
                "torch.optim.Adam(self.parameters(), lr=self.lr)",
                "torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)",
            ),
        ),
        edits=(
            (
                "        return self.model(x)\n",
                "        return torch.nn.Softmax(dim=-1)(self.model(x))\n",
            ),
        ),
        images=SGD_SETS,
        networks=LEARN_BY_SGD,
    ),
    Guise(
        name="probabilities-called-logits",
        script="hf_trainer",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "        logits = self.backbone(pixel_values)\n",
                "        logits = self.backbone(pixel_values).softmax(-1)\n",
            ),
        ),
        networks=("vgg",),
    ),
)
