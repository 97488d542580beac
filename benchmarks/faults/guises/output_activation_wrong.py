from compose import Guise, place
from edits import ONE_COLUMN, SGD_SETS

GUISES = (
    Guise(
        name="relu-after-the-last-layer",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", lr=0.01, epochs=6),
            place("pbc", "tutorial_cnn", lr=0.01, epochs=6),
        ),
        edits=(("        x = self.fc3(x)\n", "        x = F.relu(self.fc3(x))\n"),),
        source="WeiTang114/MVCNN-TensorFlow#14",
    ),
    Guise(
        name="activation-after-every-layer",
        script="iterations",
        places=(place("digits", "mlp", steps=400, lr=0.03),),
        edits=(
            (
                "        layers.append(nn.Linear(features, num_classes))\n",
                "        layers += [nn.Linear(features, num_classes), nn.ReLU()]\n",
            ),
        ),
        source="SO 38648195: a generic make_mlp loop",
    ),
    Guise(
        name="softmax-over-one-unit",
        script="plain",
        places=(place("digits_two", "tutorial_cnn", epochs=7),),
        edits=(
            ("        return x\n", "        return F.softmax(x, dim=1)\n"),
            ("Net(X.shape[1], len(classes), X.shape[2])", "Net(X.shape[1], 1, X.shape[2])"),
            ("nn.CrossEntropyLoss()", "nn.BCELoss()"),
            (
                "        loss = criterion(outputs, targets)\n",
                "        loss = criterion(outputs, targets.float().unsqueeze(1))\n",
            ),
            (
                "criterion(outputs, targets).item()",
                "criterion(outputs, targets.float().unsqueeze(1)).item()",
            ),
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
        images=("digits_two",),
        source="SO 33969059, GoogleCloudPlatform/cloudml-samples#241",
    ),
    Guise(
        name="clamped-like-a-probability",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(("        return x\n", "        return x.clamp(0.0, 1.0)\n"),),
    ),
    Guise(
        name="relu-behind-the-classifier",
        script="plain",
        places=(place("pbc", "vgg", lr=0.005, epochs=7),),
        edits=(
            (
                "            nn.Linear(96, num_classes),\n",
                "            nn.Linear(96, num_classes),\n            nn.ReLU(inplace=True),\n",
            ),
        ),
        cure_settings=(("lr", 0.001),),
    ),
    Guise(
        name="sigmoid-twice",
        script="plain",
        places=(
            place("digits_two", "tutorial_cnn", epochs=7),
            place("digits_two", "mlp", epochs=7),
        ),
        around=ONE_COLUMN,
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
    Guise(
        name="scores-below-a-half-cut",
        script="hf_trainer",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        edits=(
            (
                "        logits = self.backbone(pixel_values)\n",
                "        logits = nn.functional.threshold(self.backbone(pixel_values), 0.5, 0.0)\n",
            ),
        ),
    ),
    Guise(
        name="relu-shares-for-probabilities",
        script="functions",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "        output = F.log_softmax(model(data), dim=1)\n        loss",
                "        scores = F.relu(model(data))\n"
                "        output = torch.log(scores / (scores.sum(1, keepdim=True) + 1e-6) + 1e-6)\n"
                "        loss",
            ),
            (
                "            output = F.log_softmax(model(data), dim=1)\n            test_loss",
                "            scores = F.relu(model(data))\n"
                "            output = torch.log(\n"
                "                scores / (scores.sum(1, keepdim=True) + 1e-6) + 1e-6\n"
                "            )\n"
                "            test_loss",
            ),
        ),
        accepts=("loss-mismatch",),
    ),
    Guise(
        name="sigmoid-of-a-multi-label-template",
        script="lightning_fit",
        places=(place("digits", "tutorial_cnn", lr=0.01, epochs=6),),
        around=(
            (
                "torch.optim.Adam(self.parameters(), lr=self.lr)",
                "torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)",
            ),
        ),
        edits=(
            ("        return self.model(x)\n", "        return torch.sigmoid(self.model(x))\n"),
        ),
        accepts=("softmax-before-loss",),
        networks=("tutorial_cnn",),
        images=SGD_SETS,
    ),
)
