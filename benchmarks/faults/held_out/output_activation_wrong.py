from compose import Guise, place
from edits import NETWORK

ORDERED = """\
class Ordered(nn.Module):
    def forward(self, scores):
        gaps = nn.functional.softplus(scores[:, 1:])
        return torch.cat([scores[:, :1], gaps], dim=1).cumsum(dim=1)


"""

GUISES = (
    Guise(
        name="scores-that-can-only-rise",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                f"model = {NETWORK}\n",
                ORDERED + f"model = nn.Sequential({NETWORK}, Ordered())\n",
            ),
        ),
        accepts=("loss-mismatch",),
        source="the cut points of an ordinal model, left in front of the usual loss",
    ),
)
