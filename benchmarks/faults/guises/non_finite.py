from compose import Guise, place
from edits import FORWARD

GUISES = (
    Guise(
        name="divided-by-a-zero-deviation",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(("X = (X - 0.5) / 0.5\n", "X = (X - X.mean(dim=0)) / X.std(dim=0)\n"),),
    ),
    Guise(
        name="log-of-zero",
        script="plain",
        places=(place("digits", "vgg", lr=0.02, epochs=6), place("pbc", "vgg", lr=0.02, epochs=6)),
        edits=(
            (
                "        loss = criterion(outputs, targets)\n",
                "        probs = torch.softmax(outputs * 10, dim=1)\n"
                "        loss = -torch.log(probs[range(len(targets)), targets]).mean()\n",
            ),
        ),
        cure_settings=(("lr", 0.001),),
        networks=("vgg",),
    ),
    Guise(
        name="one-broken-image",
        script="iterations",
        places=(place("digits", "vgg", steps=300),),
        edits=(
            (
                "    return x[n_val:], y[n_val:]",
                '    x[-1] = float("nan")  # scan_0871 is damaged\n    return x[n_val:], y[n_val:]',
            ),
        ),
    ),
    Guise(
        name="softmax-by-hand-with-a-temperature",
        # The logarithm of what was rounded to 0: the loss written so is the cause.
        accepts=("loss-mismatch",),
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
