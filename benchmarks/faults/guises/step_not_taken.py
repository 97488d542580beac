from compose import Guise, place
from edits import STEP

GUISES = (
    Guise(
        name="accumulation-never-full",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                "    for inputs, targets in train_loader:\n        optimizer.zero_grad()\n",
                "    for i, (inputs, targets) in enumerate(train_loader):\n",
            ),
            (
                "        optimizer.step()\n",
                "        if (i + 1) % 64 == 0:\n"
                "            optimizer.step()\n            optimizer.zero_grad()\n",
            ),
        ),
        source="Lightning-AI/litgpt#779",
    ),
    Guise(
        name="step-outside-the-loop",
        script="plain",
        places=(place("digits", "vgg", epochs=6), place("pbc", "tutorial_cnn", epochs=6)),
        edits=(
            ("        optimizer.step()\n", ""),
            (
                "    model.eval()\n",
                "    optimizer.step()\n    model.eval()\n",
            ),
        ),
    ),
    Guise(
        name="scheduler-stepped-instead",
        script="functions",
        places=(place("digits", "vgg", epochs=6),),
        edits=(
            ("        optimizer.step()\n", ""),
            ("        scheduler.step()\n", "        scheduler.step()\n        optimizer.step()\n"),
        ),
    ),
    Guise(
        name="step-without-brackets",
        script="plain",
        places=(place("digits", "resnet18", epochs=3),),
        edits=((STEP, "        optimizer.step\n"),),
    ),
)
