from compose import Guise, place
from edits import FORWARD

GUISES = (
    Guise(
        name="root-of-a-zero-norm",
        script="plain",
        places=(place("digits", "resnet18", epochs=3),),
        edits=(
            (
                FORWARD,
                FORWARD + "        norms = [p.pow(2).sum().sqrt() for p in model.parameters()]\n"
                "        loss = loss + 1e-4 * sum(norms)\n",
            ),
        ),
        networks=("resnet18", "vit", "bn_cnn"),
        source="the gradient of sqrt at 0: biases that begin at 0",
    ),
    Guise(
        name="inverse-root-of-step-zero",
        script="iterations",
        places=(place("trashnet", "vit", steps=210),),
        edits=(
            (
                "        if step < args.warmup:\n"
                "            return (step + 1) / args.warmup\n"
                "        progress = (step - args.warmup) / max(1, args.steps - args.warmup)\n"
                "        return 0.5 * (1 + math.cos(math.pi * progress))\n",
                "        return 1 / np.sqrt(step)\n",
            ),
        ),
        accepts=("learning-rate-too-high",),
    ),
)
