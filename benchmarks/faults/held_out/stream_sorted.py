from compose import Guise, place
from edits import LOADER

GUISES = (
    Guise(
        name="sequential-strategy",
        script="hf_trainer",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "    train_dataset = ImageDataset(images[order[:split]], labels[order[:split]])\n",
                "    rows = sorted(order[:split], key=lambda row: labels[row])\n"
                "    train_dataset = ImageDataset(images[rows], labels[rows])\n",
            ),
            (
                "        use_cpu=True,\n",
                '        use_cpu=True,\n        train_sampling_strategy="sequential",\n',
            ),
        ),
        networks=("tutorial_cnn", "vgg", "vit"),
    ),
    Guise(
        name="shuffle-buffer-too-small",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                LOADER,
                "class ShuffleBuffer:\n"
                "    def __len__(self):\n"
                "        return n_train\n\n"
                "    def __iter__(self):\n"
                "        buffer = []\n"
                '        for row in np.argsort(labels[:n_train], kind="stable"):\n'
                "            buffer.append(int(row))\n"
                "            if len(buffer) > 64:\n"
                "                yield buffer.pop(np.random.randint(64))\n"
                "        yield from buffer\n\n\n"
                "train_loader = DataLoader(\n"
                "    train_set, batch_size=args.batch_size, sampler=ShuffleBuffer()\n)\n",
            ),
        ),
        networks=("tutorial_cnn", "vgg", "vit"),
        source="a folder a class, read one after the other through a small buffer",
    ),
)
