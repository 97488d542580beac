from compose import Guise, place
from edits import FORWARD

GUISES = (
    Guise(
        name="through-numpy",
        script="plain",
        places=(place("pbc", "mlp", epochs=6),),
        edits=(
            (
                "        outputs = model(inputs)\n" + FORWARD,
                "        outputs = model(inputs).detach().numpy()\n"
                "        outputs = torch.tensor(outputs / 1.0, requires_grad=True)\n" + FORWARD,
            ),
        ),
    ),
)
