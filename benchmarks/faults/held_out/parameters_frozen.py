from compose import Guise, place

FORWARD = "        logits = model(x)\n        loss"
ATTACK = (
    "        x.requires_grad_()\n"
    "        model.requires_grad_(False)\n"
    "        criterion(model(x), y).backward()\n"
)
PERTURBED = "        x = x + 0.02 * x.grad.sign()\n"

GUISES = (
    Guise(
        name="not-thawed-after-the-attack",
        script="iterations",
        places=(place("trashnet", "mlp", steps=240),),
        edits=((FORWARD, ATTACK + PERTURBED + FORWARD),),
        cure=((FORWARD, ATTACK + "        model.requires_grad_(True)\n" + PERTURBED + FORWARD),),
        source="adversarial training: the perturbed image hides that no weight asks for a gradient",
    ),
)
