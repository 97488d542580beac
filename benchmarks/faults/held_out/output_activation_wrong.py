from compose import Guise, place

GUISES = (
    Guise(
        name="clamped-like-a-probability",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(("        return x\n", "        return x.clamp(0.0, 1.0)\n"),),
    ),
    Guise(
        name="relu-behind-the-classifier",
        script="plain",
        places=(place("pbc", "vgg", lr=0.005, epochs=7),),
        edits=(
            (
                "            nn.Linear(96, num_classes),\n",
                "            nn.Linear(96, num_classes),\n            nn.ReLU(inplace=True),\n",
            ),
        ),
        cure_settings=(("lr", 0.001),),
    ),
)
