from compose import Guise, place

GUISES = (
    Guise(
        name="a-shard-for-each-class",
        script="lightning_fit",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        edits=(
            (
                "from torch.utils.data import DataLoader, TensorDataset\n",
                "from torch.utils.data import DataLoader, IterableDataset, TensorDataset\n\n\n"
                "class Shards(IterableDataset):\n"
                "    def __init__(self, shards):\n"
                "        self.shards = shards\n\n"
                "    def __iter__(self):\n"
                "        for images, label in self.shards:\n"
                "            for row in torch.randperm(len(images)):\n"
                "                yield images[row], label\n",
            ),
            (
                "    train_loader = DataLoader(\n"
                "        TensorDataset(x[:split], y[:split]), batch_size=args.batch_size, "
                "shuffle=True\n"
                "    )\n",
                "    shards = [(x[:split][y[:split] == label], label) for label in "
                "range(len(classes))]\n"
                "    train_loader = DataLoader(Shards(shards), batch_size=args.batch_size)\n",
            ),
        ),
        networks=("tutorial_cnn", "vgg", "mlp", "vit"),
    ),
    Guise(
        name="a-stage-for-each-class",
        script="iterations",
        places=(place("digits", "mlp", steps=270, batch_size=16),),
        edits=(
            (
                "    stream = batches(x_train, y_train, args.batch_size)\n",
                "    streams = []\n"
                "    for label in range(len(classes)):\n"
                "        rows = y_train == label\n"
                "        streams.append(batches(x_train[rows], y_train[rows], args.batch_size))\n",
            ),
            (
                "        x, y = next(stream)\n",
                "        stage = (step - 1) * len(streams) // args.steps\n"
                "        x, y = next(streams[stage])\n",
            ),
        ),
        networks=("tutorial_cnn", "vgg", "mlp", "vit"),
    ),
)
