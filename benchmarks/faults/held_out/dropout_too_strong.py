from compose import Guise, place

GUISES = (
    Guise(
        name="feature-maps-dropped",
        script="functions",
        places=(place("digits", "bn_cnn", epochs=5),),
        edits=(
            (
                "        nn.MaxPool2d(2),\n",
                "        nn.MaxPool2d(2),\n        nn.Dropout2d(0.95),\n",
            ),
        ),
        networks=("bn_cnn",),
    ),
    Guise(
        name="tokens-dropped",
        script="iterations",
        places=(place("digits", "vit", steps=315),),
        edits=(
            (
                "        tokens = tokens + self.positions[:, : tokens.shape[1]]\n",
                "        tokens = tokens + self.positions[:, : tokens.shape[1]]\n"
                "        tokens = nn.functional.dropout(tokens, 0.98, self.training)\n",
            ),
        ),
        networks=("vit",),
    ),
)
