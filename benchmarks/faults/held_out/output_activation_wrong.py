from compose import Guise, place
from edits import NETWORK

READ = "        predicted = outputs.argmax(dim=1)\n        np.add.at(train_"
READ_LATER = "            predicted = outputs.argmax(dim=1)\n            np.add.at(val_"
POSITIVE = "(outputs[:, 0] > 0).long()"

GUISES = (
    Guise(
        name="sigmoid-twice",
        script="plain",
        places=(
            place("digits_two", "tutorial_cnn", epochs=7),
            place("digits_two", "mlp", epochs=7),
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
                "model = Net(X.shape[1], 1, X.shape[2])\n",
                "model = nn.Sequential(Net(X.shape[1], 1, X.shape[2]), nn.Sigmoid())\n",
            ),
        ),
        accepts=("softmax-before-loss",),
        images=("digits_two",),
        networks=("tutorial_cnn", "mlp"),
    ),
    Guise(
        name="log-sigmoid-for-log-softmax",
        script="functions",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "        output = F.log_softmax(model(data), dim=1)\n        loss",
                "        output = F.logsigmoid(model(data))\n        loss",
            ),
        ),
        accepts=("loss-mismatch",),
        networks=("tutorial_cnn", "vgg", "mlp"),
    ),
)
