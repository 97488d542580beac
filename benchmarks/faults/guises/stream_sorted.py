from compose import Guise, place
from edits import LOADER

IMPORT = "from torch.utils.data import DataLoader, TensorDataset\n"

SAMPLER = (
    "from torch.utils.data import DataLoader, Sampler, TensorDataset\n\n\n"
    "class ImagesPerClass(Sampler):\n"
    "    def __init__(self, labels, batch_size, m):\n"
    "        self.rows = [torch.nonzero(labels == label)[:, 0] for label in labels.unique()]\n"
    "        self.batches = len(labels) // batch_size\n"
    "        self.classes = batch_size // m\n"
    "        self.m = m\n\n"
    "    def __len__(self):\n"
    "        return self.batches\n\n"
    "    def __iter__(self):\n"
    "        for _ in range(self.batches):\n"
    "            batch = []\n"
    "            for label in torch.randperm(len(self.rows))[: self.classes].tolist():\n"
    "                rows = self.rows[label]\n"
    "                batch += rows[torch.randint(len(rows), (self.m,))].tolist()\n"
    "            yield batch\n"
)

LIT_LOADER = (
    "        TensorDataset(x[:split], y[:split]), batch_size=args.batch_size, shuffle=True\n"
)

GUISES = (
    Guise(
        name="folder-order",
        script="functions",
        places=(place("digits", "tutorial_cnn", epochs=6), place("trashnet", "vgg", epochs=7)),
        edits=(
            (
                "    train_dataset, test_dataset = random_split(dataset, "
                "[len(dataset) - n_test, n_test])\n",
                '    order = labels.argsort(kind="stable")\n'
                "    dataset = ImageDataset(images[order], labels[order])\n"
                "    test_dataset = Subset(dataset, range(0, len(dataset), 5))\n"
                "    train_dataset = Subset(dataset, [i for i in range(len(dataset)) if i % 5])\n",
            ),
            ("DataLoader, Dataset, random_split", "DataLoader, Dataset, Subset"),
            ("batch_size=args.batch_size, shuffle=True", "batch_size=args.batch_size"),
        ),
        source="facebookresearch/fastText#74",
        networks=("tutorial_cnn", "vgg", "resnet18", "vit"),
    ),
    Guise(
        name="sorted-with-batchnorm",
        script="functions",
        places=(place("trashnet", "bn_cnn", epochs=6), place("pbc", "bn_cnn", epochs=6)),
        edits=(
            (
                "    train_dataset, test_dataset = random_split(dataset, "
                "[len(dataset) - n_test, n_test])\n",
                '    order = labels.argsort(kind="stable")\n'
                "    dataset = ImageDataset(images[order], labels[order])\n"
                "    test_dataset = Subset(dataset, range(0, len(dataset), 5))\n"
                "    train_dataset = Subset(dataset, [i for i in range(len(dataset)) if i % 5])\n",
            ),
            ("DataLoader, Dataset, random_split", "DataLoader, Dataset, Subset"),
            ("batch_size=args.batch_size, shuffle=True", "batch_size=args.batch_size"),
        ),
        networks=("resnet18", "bn_cnn"),
        accepts=("batchnorm-mismatch",),
        source="SO 58237726",
        images=("trashnet", "pbc"),
    ),
    Guise(
        name="file-of-records-in-class-order",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "train_set = TensorDataset(X[:n_train], y[:n_train])\n",
                'records = np.argsort(labels[:n_train], kind="stable")\n'
                "train_set = TensorDataset(X[records], y[records])\n",
            ),
            (LOADER, "train_loader = DataLoader(train_set, batch_size=args.batch_size)\n"),
        ),
        source="BVLC/caffe#1445: record file written without -shuffle",
        networks=("tutorial_cnn", "vgg", "resnet18", "vit"),
    ),
    Guise(
        name="batches-class-by-class",
        script="iterations",
        places=(place("trashnet", "vgg", steps=400),),
        edits=(("        perm = torch.randperm(len(x))\n", "        perm = torch.argsort(y)\n"),),
    ),
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
    Guise(
        name="as-many-images-of-a-class-as-a-batch-holds",
        script="lightning_fit",
        places=(place("trashnet", "tutorial_cnn", lr=0.003, epochs=8),),
        around=((IMPORT, SAMPLER),),
        edits=(
            (
                LIT_LOADER,
                "        TensorDataset(x[:split], y[:split]),\n"
                "        batch_sampler=ImagesPerClass(y[:split], args.batch_size, m=32),\n",
            ),
        ),
        cure=(
            (
                LIT_LOADER,
                "        TensorDataset(x[:split], y[:split]),\n"
                "        batch_sampler=ImagesPerClass(y[:split], args.batch_size, m=8),\n",
            ),
        ),
        images=("trashnet", "pbc"),
        networks=("tutorial_cnn", "vgg", "mlp", "vit"),
        source="m images of each class, as metric learning wants them",
    ),
)
