from compose import Guise, place

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
