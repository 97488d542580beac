from compose import Guise, place
from edits import LEARN_BY_SGD, SGD_SETS

CPU = '        accelerator="cpu",\n'

GUISES = (
    Guise(
        name="gradients-clipped-to-a-thousandth",
        script="lightning_fit",
        places=(place("digits", "tutorial_cnn", lr=0.02, epochs=6),),
        around=(
            (
                "torch.optim.Adam(self.parameters(), lr=self.lr)",
                "torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)",
            ),
        ),
        edits=((CPU, CPU + "        gradient_clip_val=0.001,\n"),),
        cure=((CPU, CPU + "        gradient_clip_val=1.0,\n"),),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
        source="the norm of all gradients together, taken for that of a single weight",
    ),
)
