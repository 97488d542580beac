from compose import Guise, place
from edits import FORWARD

GUISES = (
    Guise(
        name="column-against-row",
        script="plain",
        places=(place("digits_eight", "tutorial_cnn", epochs=7),),
        around=(
            ("Net(X.shape[1], len(classes), X.shape[2])", "Net(X.shape[1], 1, X.shape[2])"),
            ("nn.CrossEntropyLoss()", "nn.MSELoss()"),
            ("criterion(outputs, targets).item()", "criterion(outputs, targets.float()).item()"),
            (
                "        predicted = outputs.argmax(dim=1)\n        np.add.at(train_",
                "        predicted = (outputs > 0.5).long().squeeze(1)\n        np.add.at(train_",
            ),
            (
                "            predicted = outputs.argmax(dim=1)\n            np.add.at(val_",
                "            predicted = (outputs > 0.5).long().squeeze(1)\n"
                "            np.add.at(val_",
            ),
        ),
        edits=(
            (
                "        loss = criterion(outputs, targets)\n",
                "        loss = criterion(outputs, targets.float())\n",
            ),
        ),
        cure=((FORWARD, "        loss = criterion(outputs, targets.float().unsqueeze(1))\n"),),
        images=("digits_eight", "digits_two"),
        source="pytorch/pytorch#16045, pytorch/pytorch#19991",
    ),
)
