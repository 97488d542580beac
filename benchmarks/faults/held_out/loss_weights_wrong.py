from compose import Guise, place
from edits import BALANCED, NETWORK

READ = "        predicted = outputs.argmax(dim=1)\n        np.add.at(train_"
READ_LATER = "            predicted = outputs.argmax(dim=1)\n            np.add.at(val_"
POSITIVE = "(outputs > 0).long().squeeze(1)"

GUISES = (
    Guise(
        name="pos-weight-upside-down",
        script="plain",
        places=(
            place("digits_anomaly", "tutorial_cnn", epochs=10),
            place("digits_anomaly", "mlp", epochs=10),
        ),
        around=(
            (NETWORK, NETWORK.replace("len(classes)", "1")),
            ("nn.CrossEntropyLoss()", "nn.BCEWithLogitsLoss()"),
            (
                "loss = criterion(outputs, targets)",
                "loss = criterion(outputs[:, 0], targets.float())",
            ),
            (
                "criterion(outputs, targets).item()",
                "criterion(outputs[:, 0], targets.float()).item()",
            ),
            (READ, READ.replace("outputs.argmax(dim=1)", POSITIVE)),
            (READ_LATER, READ_LATER.replace("outputs.argmax(dim=1)", POSITIVE)),
        ),
        edits=(
            (
                "criterion = nn.BCEWithLogitsLoss()",
                "positive = labels[:n_train].sum()\n"
                "ratio = torch.tensor(positive / (n_train - positive))\n"
                "criterion = nn.BCEWithLogitsLoss(pos_weight=ratio)",
            ),
        ),
        cure=(BALANCED,),
        accepts=("class-imbalance",),
        images=("digits_anomaly",),
        networks=("tutorial_cnn", "mlp"),
    ),
    Guise(
        name="difference-to-the-largest-class",
        script="functions",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "    test_loader = DataLoader(test_dataset, batch_size=200)\n",
                "    test_loader = DataLoader(test_dataset, batch_size=200)\n"
                "    counts = np.bincount(labels[train_dataset.indices])\n"
                "    args.weight = torch.tensor(counts.max() - counts, dtype=torch.float)\n",
            ),
            (
                "loss = F.nll_loss(output, target)\n",
                "loss = F.nll_loss(output, target, weight=args.weight)\n",
            ),
        ),
    ),
)
