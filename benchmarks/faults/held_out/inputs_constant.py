from compose import Guise, place

GUISES = (
    Guise(
        name="crop-of-the-padding",
        script="transforms",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            ("from PIL import Image\n", "from PIL import Image, ImageOps\n"),
            (
                '        image = self.images[idx].convert("RGB")\n',
                '        image = self.images[idx].convert("RGB")\n'
                "        w, h = image.size\n"
                "        image = ImageOps.expand(image, border=max(w, h)).crop((0, 0, w, h))\n",
            ),
        ),
    ),
    Guise(
        name="first-image-cached-for-all",
        script="hf_trainer",
        places=(place("trashnet", "mlp", epochs=7),),
        edits=(
            (
                "        self.labels = labels\n",
                "        self.labels = labels\n        self.cached = None\n",
            ),
            (
                "        pixel_values = torch.from_numpy(self.images[idx])"
                ".permute(2, 0, 1).float() / 255\n",
                "        if self.cached is None:\n"
                "            image = torch.from_numpy(self.images[idx])\n"
                "            self.cached = image.permute(2, 0, 1).float() / 255\n"
                "        pixel_values = self.cached\n",
            ),
        ),
    ),
)
