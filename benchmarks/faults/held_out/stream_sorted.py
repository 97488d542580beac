from compose import Guise, place
from edits import LOADER

GUISES = (
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
)
