from compose import Guise, place

GUISES = (
    Guise(
        name="divided-into-integers",
        script="plain",
        places=(
            place("digits", "vgg", epochs=6),
            place("demo", "bn_cnn", epochs=8),
        ),
        edits=(
            (
                "X = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255\n",
                "images[:] = images / 256\n"
                "X = torch.from_numpy(images).permute(0, 3, 1, 2).float()\n",
            ),
        ),
        source="keras-team/keras#255",
    ),
    Guise(
        name="sampler-weights-per-class",
        script="plain",
        places=(place("digits", "bn_cnn", epochs=6), place("pbc", "bn_cnn", epochs=6)),
        edits=(
            (
                "train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)\n",
                "class_counts = np.bincount(labels[:n_train], minlength=len(classes))\n"
                "sampler = torch.utils.data.WeightedRandomSampler(1.0 / class_counts, n_train)\n"
                "train_loader = DataLoader(train_set, batch_size=args.batch_size, "
                "sampler=sampler)\n",
            ),
        ),
        source="deep-voice/soundbay#49",
    ),
    Guise(
        name="one-buffer-for-all",
        script="plain",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        edits=(
            (
                "images, labels, classes = load_images(args.root)\n",
                "images, labels, classes = load_images(args.root)\n"
                "buffer, resized = np.empty_like(images[0]), []\n"
                "for image in images:\n"
                "    np.clip(image, 2, 253, out=buffer)\n"
                "    resized.append(buffer)\n"
                "images = np.stack(resized)\n",
            ),
        ),
        source="a buffer written into, and appended without a copy",
    ),
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
    Guise(
        name="alpha-taken-for-grey",
        script="transforms",
        places=(place("digits", "resnet18", epochs=3),),
        around=(
            (
                '        image = self.images[idx].convert("RGB")\n',
                '        image = self.images[idx].convert("LA").split()[0].convert("RGB")\n',
            ),
        ),
        edits=((".split()[0]", ".split()[-1]"),),
        images=("digits", "pbc"),
        source="the last plane of an image read with its transparency",
    ),
)
