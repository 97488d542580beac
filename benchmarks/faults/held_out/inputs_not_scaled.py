from compose import Guise, place

GUISES = (
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
)
