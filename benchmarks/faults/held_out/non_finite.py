from compose import Guise, place
from edits import FORWARD

GUISES = (
    Guise(
        name="softmax-by-hand-with-a-temperature",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                FORWARD,
                "        scores = torch.exp(outputs / 0.0001)\n"
                "        probs = scores / scores.sum(dim=1, keepdim=True)\n"
                "        loss = -torch.log(probs[torch.arange(len(targets)), targets]).mean()\n",
            ),
        ),
    ),
)
