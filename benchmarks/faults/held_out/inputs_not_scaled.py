from compose import Guise, place

GUISES = (
    Guise(
        name="hsv-of-bytes",
        script="functions",
        places=(place("trashnet", "tutorial_cnn", lr=0.02, gamma=0.97, epochs=8),),
        around=(
            ("import argparse\n", "import argparse\nimport colorsys\n"),
            (
                "        self.images = images\n",
                "        self.images = np.apply_along_axis(\n"
                "            lambda pixel: colorsys.rgb_to_hsv(*pixel), 3, images / 255.0\n"
                "        )\n",
            ),
            (".float() / 255.0\n", ".float()\n"),
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(("3, images / 255.0\n", "3, images\n"),),
        accepts=("learning-rate-too-high", "dead-units"),
        images=("trashnet", "pbc"),
        networks=("tutorial_cnn", "mlp"),
        source="of bytes, hue and saturation come out in 0..1 and value in 0..255",
    ),
)
