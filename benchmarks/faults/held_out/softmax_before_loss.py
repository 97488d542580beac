from compose import Guise, place
from edits import LEARN_BY_SGD, SGD_SETS

GUISES = (
    Guise(
        name="softmax-where-the-loss-wants-its-logarithm",
        script="functions",
        places=(place("digits", "tutorial_cnn", lr=0.01, gamma=0.9, epochs=7),),
        around=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(
            (
                "        output = F.log_softmax(model(data), dim=1)\n        loss",
                "        output = F.softmax(model(data), dim=1)\n        loss",
            ),
            (
                "            output = F.log_softmax(model(data), dim=1)\n            test_loss",
                "            output = F.softmax(model(data), dim=1)\n            test_loss",
            ),
        ),
        accepts=("loss-mismatch",),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
)
