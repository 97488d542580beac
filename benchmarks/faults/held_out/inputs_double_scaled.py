from compose import Guise, place
from edits import WITHOUT_NORM

GUISES = (
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
