from compose import Guise, place
from edits import PIXELS, SGD, SGD_SETS

GUISES = (
    Guise(
        name="sixteen-bit",
        script="plain",
        places=(place("digits", "vgg", lr=0.01, epochs=8),),
        around=(SGD,),
        edits=((PIXELS, ".float() * 257\n"),),
        accepts=("learning-rate-too-high", "dead-units"),
        networks=("tutorial_cnn", "mlp"),
        source="a reader that returns 0..65535",
        images=SGD_SETS,
    ),
    Guise(
        name="imagenet-figures-on-255",
        script="functions",
        places=(place("pbc", "mlp", lr=0.02, gamma=0.9, epochs=6),),
        around=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(
            (".float() / 255.0\n", ".float()\n"),
            ("(image - 0.5) / 0.25", "(image - 0.45) / 0.225"),
        ),
        accepts=("learning-rate-too-high", "dead-units"),
        networks=("tutorial_cnn", "mlp"),
        images=SGD_SETS,
    ),
)
