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
)
