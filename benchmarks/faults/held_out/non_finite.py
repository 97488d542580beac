from compose import Guise, place
from edits import WITHOUT_NORM

GUISES = (
    Guise(
        name="no-epsilon-in-adam",
        script="lightning_fit",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "torch.optim.Adam(self.parameters(), lr=self.lr)",
                "torch.optim.Adam(self.parameters(), lr=self.lr, betas=(0.9, 0.99), eps=0.0)",
            ),
        ),
        networks=WITHOUT_NORM,
        source="a weight without a gradient moves by 0 / 0",
    ),
)
