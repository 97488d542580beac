from compose import Guise, place
from edits import PIXELS, SGD, SGD_SETS

TRAIN = "translate=(0.1, 0.1)),\n        transforms.ToTensor(),\n"

VAL = "    [\n        transforms.ToTensor(),\n"

RAW = "transforms.PILToTensor(),\n        transforms.Lambda(lambda image: image.float()),\n"

GUISES = (
    Guise(
        name="raw-pixels-sgd",
        script="plain",
        places=(
            place("pbc", "tutorial_cnn", lr=0.05, epochs=7),
            place("trashnet", "vgg", lr=0.05, epochs=8),
        ),
        around=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(
            (".float() / 255\n", ".float()\n"),
            ("X = (X - 0.5) / 0.5\n", ""),
        ),
        networks=("tutorial_cnn", "mlp"),
        accepts=("learning-rate-too-high", "dead-units"),
        source="SO 39525358, pullrequest.ru/10248037",
        images=SGD_SETS,
    ),
    Guise(
        name="float-images-not-converted",
        script="plain",
        places=(
            place("pbc", "tutorial_cnn", lr=0.02, epochs=7),
            place("demo", "tutorial_cnn", lr=0.02, epochs=8),
        ),
        around=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(
            (
                "X = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255\n",
                "transform = v2.Compose(\n    [\n"
                "        v2.ToDtype(torch.float32, scale=True),\n"
                "        v2.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),\n"
                "    ]\n)\n"
                "X = transform(torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2))\n",
            ),
            ("X = (X - 0.5) / 0.5\n", ""),
            (
                "from torch.utils.data import DataLoader, TensorDataset\n",
                "from torch.utils.data import DataLoader, TensorDataset\n"
                "from torchvision.transforms import v2\n",
            ),
        ),
        networks=("tutorial_cnn", "mlp"),
        accepts=("learning-rate-too-high", "dead-units"),
        source="the tutorial's own data set",
        images=SGD_SETS,
    ),
    Guise(
        name="sigmoid-mlp-on-raw-pixels",
        script="plain",
        places=(place("pbc", "mlp", lr=0.01, epochs=7),),
        around=(
            ("nn.Linear(features, width), nn.ReLU()]", "nn.Linear(features, width), nn.Sigmoid()]"),
        ),
        edits=(
            (".float() / 255\n", ".float()\n"),
            ("X = (X - 0.5) / 0.5\n", ""),
        ),
        source="SO 55328966",
        images=("pbc", "trashnet"),
    ),
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
    Guise(
        name="pil-to-tensor-as-float",
        script="transforms",
        places=(place("trashnet", "tutorial_cnn", lr=0.02, epochs=8),),
        around=(
            (
                "torch.optim.Adam(model.parameters(), lr=args.lr)",
                "torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(
            (TRAIN, TRAIN.replace("transforms.ToTensor(),\n", RAW)),
            (VAL, VAL.replace("transforms.ToTensor(),\n", RAW)),
        ),
        accepts=("learning-rate-too-high", "dead-units"),
        images=("digits", "trashnet"),
        networks=("tutorial_cnn", "mlp"),
    ),
    Guise(
        name="unsigned-bytes-to-float",
        script="lightning_fit",
        places=(place("digits", "mlp", lr=0.03, epochs=6),),
        around=(
            (
                "torch.optim.Adam(self.parameters(), lr=self.lr)",
                "torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)",
            ),
        ),
        edits=((".float().div(255).sub(0.5).div(0.5)", ".to(torch.float32)"),),
        accepts=("learning-rate-too-high", "dead-units"),
        images=("digits", "trashnet"),
        networks=("tutorial_cnn", "mlp"),
    ),
    Guise(
        name="image-processor-told-not-to-rescale",
        script="hf_trainer",
        places=(place("trashnet", "mlp", lr=0.05, epochs=7),),
        around=(
            (
                "from transformers import Trainer, TrainingArguments\n",
                "from transformers import Trainer, TrainingArguments, ViTImageProcessor\n",
            ),
            (
                "        self.labels = labels\n",
                "        self.labels = labels\n"
                "        self.processor = ViTImageProcessor(\n"
                "            do_resize=False, do_rescale=True, image_mean=[0.5] * 3, "
                "image_std=[0.5] * 3\n"
                "        )\n",
            ),
            (
                "        pixel_values = torch.from_numpy(self.images[idx])"
                ".permute(2, 0, 1).float() / 255\n",
                '        encoded = self.processor(self.images[idx], return_tensors="pt")\n'
                '        pixel_values = encoded["pixel_values"][0]\n',
            ),
            ("(pixel_values - 0.5) / 0.5", "pixel_values"),
            ("        seed=args.seed,\n", '        seed=args.seed,\n        optim="sgd",\n'),
        ),
        edits=(("do_rescale=True", "do_rescale=False"),),
        accepts=("learning-rate-too-high", "dead-units"),
        images=("trashnet", "demo_32"),
        networks=("tutorial_cnn", "mlp"),
    ),
    Guise(
        name="mean-subtracted-and-nothing-divided",
        script="iterations",
        places=(place("digits", "tutorial_cnn", lr=0.05, steps=270),),
        around=(
            (
                "torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)",
                "torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(
            ("images.astype(np.float32) / 255\n", "images.astype(np.float32)\n"),
            (
                "    x = (x - x.mean(axis=(0, 1, 2))) / x.std(axis=(0, 1, 2))\n",
                "    x = x - x.mean(axis=(0, 1, 2))\n",
            ),
        ),
        accepts=("learning-rate-too-high", "dead-units"),
        images=("digits", "trashnet"),
        networks=("tutorial_cnn", "mlp"),
    ),
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
