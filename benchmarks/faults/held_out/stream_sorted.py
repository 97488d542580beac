from compose import Guise, place

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
LOADER = "        TensorDataset(x[:split], y[:split]), batch_size=args.batch_size, shuffle=True\n"

GUISES = (
    Guise(
        name="as-many-images-of-a-class-as-a-batch-holds",
        script="lightning_fit",
        places=(place("trashnet", "tutorial_cnn", lr=0.003, epochs=8),),
        around=((IMPORT, SAMPLER),),
        edits=(
            (
                LOADER,
                "        TensorDataset(x[:split], y[:split]),\n"
                "        batch_sampler=ImagesPerClass(y[:split], args.batch_size, m=32),\n",
            ),
        ),
        cure=(
            (
                LOADER,
                "        TensorDataset(x[:split], y[:split]),\n"
                "        batch_sampler=ImagesPerClass(y[:split], args.batch_size, m=8),\n",
            ),
        ),
        images=("trashnet", "pbc"),
        networks=("tutorial_cnn", "vgg", "mlp", "vit"),
        source="m images of each class, as metric learning wants them",
    ),
)
