from compose import Guise, place

GUISES = (
    Guise(
        name="readers-bound-to-the-last-file",
        script="functions",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "        self.images = images\n",
                "        self.images = images\n"
                "        self.readers = [lambda: images[i] for i in range(len(images))]\n",
            ),
            ("torch.from_numpy(self.images[index])", "torch.from_numpy(self.readers[index]())"),
        ),
        source="a closure binds late",
    ),
    Guise(
        name="threshold-of-the-other-range",
        script="lightning_fit",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        edits=((".float().div(255).sub(0.5).div(0.5)", ".float().div(255).gt(128).float()"),),
    ),
)
