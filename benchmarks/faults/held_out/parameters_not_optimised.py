from compose import Guise, place
from edits import FORWARD, LOSS

CALL = "        outputs = model(inputs)\n" + FORWARD
FAST = "torch.func.functional_call(model, fast_weights, (inputs,))"

GUISES = (
    Guise(
        name="fast-weights-beside-the-optimizer",
        script="plain",
        places=(place("digits", "resnet18", epochs=3),),
        edits=(
            (
                LOSS,
                "fast_weights = {\n"
                "    name: weight.detach().clone().requires_grad_()\n"
                "    for name, weight in model.named_parameters()\n"
                "}\n" + LOSS,
            ),
            (CALL, CALL.replace("model(inputs)", FAST)),
        ),
        cure=(
            (LOSS, "fast_weights = dict(model.named_parameters())\n" + LOSS),
            (CALL, CALL.replace("model(inputs)", FAST)),
        ),
        source="functional calls as in meta-learning: the optimizer holds the slow weights",
    ),
)
