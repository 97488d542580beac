from compose import Guise, place

GUISES = (
    Guise(
        name="logits-rounded-in-front-of-the-loss",
        script="transforms",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        edits=(
            (
                "                logits = self.model(images)\n",
                "                logits = torch.round(self.model(images), decimals=2)\n",
            ),
        ),
        source="quantised outputs without a straight-through estimator",
    ),
    Guise(
        name="copies-of-the-weights-called",
        script="iterations",
        places=(place("digits", "mlp", steps=270),),
        edits=(
            (
                "        logits = model(x)\n        loss",
                "        weights = {n: p.detach().requires_grad_() for n, p in "
                "model.named_parameters()}\n"
                "        logits = torch.func.functional_call(model, weights, (x,))\n"
                "        loss",
            ),
        ),
        accepts=("parameters-not-optimised",),
    ),
)
