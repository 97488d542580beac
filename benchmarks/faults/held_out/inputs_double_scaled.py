from compose import Guise, place
from edits import WITHOUT_NORM

GUISES = (
    Guise(
        name="scaled-on-loading-and-in-the-dataset",
        script="hf_trainer",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "    images, labels, classes = load_images(args.root)\n",
                "    images, labels, classes = load_images(args.root)\n"
                "    images = np.asarray(images, dtype=np.float32) / 255\n",
            ),
        ),
        accepts=("inputs-constant",),
        networks=WITHOUT_NORM,
    ),
    Guise(
        name="the-model-divides-as-well",
        script="lightning_fit",
        places=(place("trashnet", "tutorial_cnn", lr=0.02, epochs=8),),
        around=(
            (
                "torch.optim.Adam(self.parameters(), lr=self.lr)",
                "torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)",
            ),
        ),
        edits=(("        return self.model(x)\n", "        return self.model(x / 255.0)\n"),),
        accepts=("learning-rate-too-low",),
        images=("digits", "trashnet"),
        networks=("tutorial_cnn", "mlp"),
        source="a rescaling layer inside the network, and scaled images",
    ),
)
