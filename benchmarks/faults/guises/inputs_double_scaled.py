from compose import Guise, place
from edits import CENTRED, WITHOUT_NORM

HALF = "        transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),\n"

GREY = "        transforms.Normalize((127.5,) * 3, (127.5,) * 3),\n"

TRAIN = "translate=(0.1, 0.1)),\n        transforms.ToTensor(),\n"

VAL = "    [\n        transforms.ToTensor(),\n"

GUISES = (
    Guise(
        name="divided-twice",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", lr=0.01, epochs=7),
            place("pbc", "vgg", lr=0.01, epochs=7),
        ),
        around=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr)",
            ),
        ),
        edits=(("X = (X - 0.5) / 0.5\n", "X = X / 255.0\n"),),
        accepts=("learning-rate-too-low",),
        source="pkmital/pycadl#5",
        images=("digits", "trashnet"),
        networks=("mlp",),
    ),
    Guise(
        name="totensor-then-255",
        script="transforms",
        places=(place("digits", "vgg", epochs=6), place("trashnet", "tutorial_cnn", epochs=7)),
        edits=(
            (
                "        transforms.RandomAffine(degrees=10, translate=(0.1, 0.1)),\n"
                "        transforms.ToTensor(),\n",
                "        transforms.RandomHorizontalFlip(),\n"
                "        transforms.ToTensor(),\n"
                "        transforms.Lambda(lambda x: x / 255),\n",
            ),
            (
                "    [\n        transforms.ToTensor(),\n",
                "    [\n        transforms.ToTensor(),\n"
                "        transforms.Lambda(lambda x: x / 255),\n",
            ),
        ),
        networks=WITHOUT_NORM,
    ),
    Guise(
        name="centred-after-a-second-division",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=((CENTRED, "X = (X / 255 - 0.5) / 0.5\n"),),
        networks=("tutorial_cnn", "vgg", "mlp"),
        accepts=("inputs-constant",),
    ),
    Guise(
        name="normalised-by-127.5-behind-totensor",
        script="transforms",
        places=(place("digits", "vgg", epochs=7),),
        edits=((TRAIN + HALF, TRAIN + GREY), (VAL + HALF, VAL + GREY)),
        accepts=("inputs-constant",),
        networks=WITHOUT_NORM,
    ),
    Guise(
        name="figures-of-raw-pixels-on-scaled-ones",
        script="iterations",
        places=(place("digits", "tutorial_cnn", steps=270),),
        edits=(
            (
                "    x = (x - x.mean(axis=(0, 1, 2))) / x.std(axis=(0, 1, 2))\n",
                "    x = (x - images.mean(axis=(0, 1, 2))) / images.std(axis=(0, 1, 2))\n"
                "    x = x.astype(np.float32)\n",
            ),
        ),
        accepts=("inputs-constant",),
        networks=WITHOUT_NORM,
    ),
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
    Guise(
        name="image-processor-rescales-scaled-images",
        script="hf_trainer",
        places=(place("trashnet", "mlp", epochs=7),),
        around=(
            (
                "from transformers import Trainer, TrainingArguments\n",
                "from transformers import Trainer, TrainingArguments, ViTImageProcessor\n",
            ),
            (
                "        self.labels = labels\n",
                "        self.labels = labels\n"
                "        self.processor = ViTImageProcessor(\n"
                "            do_resize=False, do_rescale=False, image_mean=[0.5] * 3, "
                "image_std=[0.5] * 3\n"
                "        )\n",
            ),
            (
                "        pixel_values = torch.from_numpy(self.images[idx])"
                ".permute(2, 0, 1).float() / 255\n",
                "        image = self.images[idx].astype(np.float32) / 255\n"
                '        pixel_values = self.processor(image, return_tensors="pt")'
                '["pixel_values"][0]\n',
            ),
            ("(pixel_values - 0.5) / 0.5", "pixel_values"),
        ),
        edits=(("do_resize=False, do_rescale=False, ", "do_resize=False, "),),
        accepts=("inputs-constant",),
        images=("trashnet", "pbc", "demo_32"),
        networks=WITHOUT_NORM,
        source='"It looks like you are trying to rescale already rescaled images"',
    ),
)
