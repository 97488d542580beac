from compose import Guise, place

GUISES = (
    Guise(
        name="pooled-features-turned",
        script="functions",
        places=(place("digits", "resnet18", epochs=3),),
        edits=(
            (
                "        x = self.layers(x).mean(dim=(2, 3))\n",
                "        x = self.layers(x).flatten(2).mean(dim=2).t().reshape(len(x), -1)\n",
            ),
        ),
        networks=("resnet18",),
    ),
)
