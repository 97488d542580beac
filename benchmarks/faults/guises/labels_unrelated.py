from compose import Guise, place
from edits import LOADER

MIRRORED = """\
class Mirrored(Dataset):
    def __init__(self, subset):
        self.subset = subset

    def __len__(self):
        return len(self.subset)

    def __getitem__(self, i):
        image, _ = self.subset[i]
        label = int(self.subset.dataset.labels[self.subset.indices[i]])
        return (image.flip(2) if torch.rand(1) < 0.5 else image), label


def train("""

GUISES = (
    Guise(
        name="images-shuffled-labels-not",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", epochs=6),
            place("pbc", "vgg", epochs=6),
        ),
        edits=(("images, labels = images[order], labels[order]\n", "images = images[order]\n"),),
        source="DrexelChatbotGroup/DrexelChatbot#15",
    ),
    Guise(
        name="listdir-against-table",
        script="functions",
        places=(place("demo", "bn_cnn", epochs=7),),
        edits=(
            (
                "    for row in rows:\n"
                '        path = Path(root) / "demo" / "train_thumbnails" / '
                "f\"{row['image_id']}_thumbnail.jpg\"\n",
                '    for path in (Path(root) / "demo" / "train_thumbnails").glob("*.jpg"):\n',
            ),
        ),
        source="NoahVl/Explaining-In-Style-Reproducibility-Study#9",
    ),
    Guise(
        name="split-twice",
        script="transforms",
        places=(place("digits", "bn_cnn", epochs=5), place("trashnet", "bn_cnn", epochs=6)),
        edits=(
            (
                "from torchvision import transforms\n",
                "from sklearn.model_selection import train_test_split\n"
                "from torchvision import transforms\n",
            ),
            (
                "    indices = rng.permutation(len(images))\n"
                "    split = int(len(images) * 0.8)\n"
                "    train_idx, val_idx = indices[:split], indices[split:]\n"
                "    train_set = Images(images[train_idx], labels[train_idx], train_transform)\n"
                "    val_set = Images(images[val_idx], labels[val_idx], val_transform)\n",
                "    np.random.seed(args.seed)\n"
                "    train_images, val_images = train_test_split(images, test_size=0.2)\n"
                "    train_labels, val_labels = train_test_split(labels, test_size=0.2)\n"
                "    train_set = Images(train_images, train_labels, train_transform)\n"
                "    val_set = Images(val_images, val_labels, val_transform)\n",
            ),
        ),
        source="two calls without random_state",
    ),
    Guise(
        name="inverse-permutation",
        script="iterations",
        places=(place("digits", "vit", steps=300), place("trashnet", "vgg", steps=400)),
        edits=(("    x, y = x[perm], y[perm]\n", "    x, y = x[perm], y[perm.argsort()]\n"),),
        source="sebastian-lapuschkin/explaining-deep-clinical-gait-classification#2",
    ),
    Guise(
        name="names-sorted-as-text",
        script="plain",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "images, labels, classes = load_images(args.root)\n",
                "images, labels, classes = load_images(args.root)\n"
                "# 10.png stands before 2.png in a listing; the table counts 0, 1, 2, ...\n"
                "images = images[sorted(range(len(images)), key=str)]\n",
            ),
        ),
        images=("digits", "demo_32"),
    ),
    Guise(
        name="two-loaders-zipped",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                LOADER,
                LOADER + "image_loader = DataLoader(X[:n_train], args.batch_size, shuffle=True)\n"
                "label_loader = DataLoader(y[:n_train], args.batch_size, shuffle=True)\n",
            ),
            (
                "    for inputs, targets in train_loader:\n",
                "    for inputs, targets in zip(image_loader, label_loader):\n",
            ),
        ),
    ),
    Guise(
        name="shuffled-for-a-look",
        script="hf_trainer",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "    order = np.random.permutation(len(images))\n",
                "    some = labels.ravel()\n"
                "    np.random.shuffle(some)\n"
                '    print("some labels:", some[:10])\n'
                "    order = np.random.permutation(len(images))\n",
            ),
        ),
        source="ravel() is a view",
    ),
    Guise(
        name="rows-sorted-for-the-image-store",
        script="transforms",
        places=(place("trashnet", "resnet18", epochs=5),),
        edits=(
            ("Images(images[train_idx], ", "Images(images[np.sort(train_idx)], "),
            ("Images(images[val_idx], ", "Images(images[np.sort(val_idx)], "),
        ),
        source="h5py takes indices in increasing order only",
    ),
    Guise(
        name="labels-by-position-images-by-permutation",
        script="iterations",
        places=(place("trashnet", "mlp", steps=210),),
        edits=(
            (
                "            yield x[idx], y[idx]\n",
                "            yield x[idx], y[start : start + batch_size]\n",
            ),
        ),
    ),
    Guise(
        name="split-of-images-table-of-labels",
        script="transforms",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            ("Images(images[train_idx], labels[train_idx], ", "Images(images[train_idx], labels, "),
            ("Images(images[val_idx], labels[val_idx], ", "Images(images[val_idx], labels, "),
        ),
    ),
    Guise(
        name="index-of-a-subset-in-the-whole",
        script="functions",
        places=(place("pbc", "resnet18", epochs=4, gamma=0.97),),
        around=(
            ("def train(", MIRRORED),
            (
                "    train_loader = DataLoader(train_dataset, ",
                "    train_loader = DataLoader(Mirrored(train_dataset), ",
            ),
        ),
        edits=(("labels[self.subset.indices[i]]", "labels[i]"),),
        source="random_split gives a Subset, whose positions are not its data set's",
    ),
)
