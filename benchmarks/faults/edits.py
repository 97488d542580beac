"""What several guises share: edits, each fitting `scripts/plain.py`, and where they do harm."""

from __future__ import annotations

from compose import Edit

FORWARD = "        loss = criterion(outputs, targets)\n"
BACKWARD = "        loss.backward()\n"
STEP = "        optimizer.step()\n"
LOSS = "criterion = nn.CrossEntropyLoss()"
LOADER = "train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)\n"
OPTIMIZER = "optim.Adam(model.parameters(), lr=args.lr)"
NETWORK = "Net(X.shape[1], len(classes), X.shape[2])"
PIXELS = ".float() / 255\n"
CENTRED = "X = (X - 0.5) / 0.5\n"

SGD: Edit = (OPTIMIZER, "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)")
PLAIN_SGD: Edit = (OPTIMIZER, "optim.SGD(model.parameters(), lr=args.lr)")
BALANCED: Edit = (
    LOADER,
    "counts = np.bincount(labels[:n_train], minlength=len(classes))\n"
    "per_image = 1.0 / counts[labels[:n_train]]\n"
    "balanced = torch.utils.data.WeightedRandomSampler(per_image, n_train)\n"
    "train_loader = DataLoader(train_set, batch_size=args.batch_size, sampler=balanced)\n",
)
RIGHT_WEIGHTS: Edit = (
    LOSS,
    "frequency = np.bincount(labels[:n_train], minlength=len(classes)) / n_train\n"
    "class_weights = torch.tensor(1 / (len(classes) * frequency), dtype=torch.float)\n"
    "criterion = nn.CrossEntropyLoss(weight=class_weights)",
)

LEARN_BY_SGD = ("tutorial_cnn", "mlp", "resnet18")
SGD_SETS = ("digits", "trashnet", "pbc")
"""Networks and sets that are learned by SGD in the few epochs of a run."""

WITHOUT_NORM = ("tutorial_cnn", "vgg", "mlp")
"""Networks that mind the scale of what comes in."""

_READ = "        predicted = outputs.argmax(dim=1)\n        np.add.at(train_"
_READ_LATER = "            predicted = outputs.argmax(dim=1)\n            np.add.at(val_"
_POSITIVE = "(outputs[:, 0] > 0).long()"
ONE_COLUMN = (
    (NETWORK, NETWORK.replace("len(classes)", "1")),
    ("nn.CrossEntropyLoss()", "nn.BCEWithLogitsLoss()"),
    ("loss = criterion(outputs, targets)", "loss = criterion(outputs[:, 0], targets.float())"),
    ("criterion(outputs, targets).item()", "criterion(outputs[:, 0], targets.float()).item()"),
    (_READ, _READ.replace("outputs.argmax(dim=1)", _POSITIVE)),
    (_READ_LATER, _READ_LATER.replace("outputs.argmax(dim=1)", _POSITIVE)),
)
"""Two classes by one output and the binary loss: a way of writing it, and no fault."""
