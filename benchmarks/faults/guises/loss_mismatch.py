from compose import Guise, place
from edits import FORWARD, LOSS

GUISES = (
    Guise(
        name="nll-on-logits",
        script="functions",
        places=(place("digits", "vgg", epochs=6), place("pbc", "tutorial_cnn", epochs=6)),
        edits=(
            (
                "        output = F.log_softmax(model(data), dim=1)\n        loss",
                "        output = model(data)\n        loss",
            ),
        ),
    ),
    Guise(
        name="one-unit-for-six-classes",
        script="plain",
        places=(place("trashnet", "tutorial_cnn", epochs=7),),
        edits=(
            ("Net(X.shape[1], len(classes), X.shape[2])", "Net(X.shape[1], 1, X.shape[2])"),
            ("nn.CrossEntropyLoss()", "nn.BCEWithLogitsLoss()"),
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
                "        predicted = (outputs > 0).long().squeeze(1)\n        np.add.at(train_",
            ),
            (
                "            predicted = outputs.argmax(dim=1)\n            np.add.at(val_",
                "            predicted = (outputs > 0).long().squeeze(1)\n"
                "            np.add.at(val_",
            ),
        ),
        source="SO 50079585, keras-team/keras#17443",
    ),
    Guise(
        name="kl-of-raw-outputs",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (LOSS, 'criterion = nn.KLDivLoss(reduction="batchmean")'),
            (
                FORWARD,
                "        truth = nn.functional.one_hot(targets, len(classes)).float()\n"
                "        loss = criterion(outputs, truth)\n",
            ),
            (
                "val_loss += criterion(outputs, targets).item()",
                "val_loss += criterion(outputs, torch.eye(len(classes))[targets]).item()",
            ),
        ),
    ),
    Guise(
        name="sign-lost",
        script="plain",
        places=(place("pbc", "resnet18", epochs=4),),
        edits=(
            (
                FORWARD,
                "        chosen = outputs.log_softmax(1).gather(1, targets.unsqueeze(1))\n"
                "        loss = chosen.mean()\n",
            ),
        ),
    ),
    Guise(
        name="one-hot-as-a-list-of-ids",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (LOSS, "criterion = nn.MultiLabelMarginLoss()"),
            (
                FORWARD,
                "        one_hot = nn.functional.one_hot(targets, len(classes))\n"
                "        loss = criterion(outputs, one_hot)\n",
            ),
            (
                "            val_loss += criterion(outputs, targets).item()\n",
                "            one_hot = nn.functional.one_hot(targets, len(classes))\n"
                "            val_loss += criterion(outputs, one_hot).item()\n",
            ),
        ),
        source="MultiLabelMarginLoss takes ids of classes, ended by -1",
    ),
    Guise(
        name="hinge-of-zeros-and-ones",
        script="lightning_fit",
        places=(place("trashnet", "mlp", epochs=7),),
        edits=(
            (
                "        return loss\n",
                "        return F.hinge_embedding_loss(logits, F.one_hot(y, self.num_classes))\n",
            ),
        ),
        source="HingeEmbeddingLoss takes distances, and 1 or -1",
    ),
    Guise(
        name="focal-factor-turned-round",
        script="plain",
        places=(place("trashnet", "resnet18", epochs=5),),
        edits=(
            (
                FORWARD,
                '        ce = nn.functional.cross_entropy(outputs, targets, reduction="none")\n'
                "        pt = torch.exp(-ce)\n"
                "        loss = (pt**2 * ce).mean()\n",
            ),
        ),
        source="the focal loss weighs by (1 - pt) ** gamma",
    ),
    Guise(
        name="problem-type-regression",
        script="hf_trainer",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "            loss = nn.functional.cross_entropy(logits, labels)\n",
                "            loss = nn.functional.mse_loss(logits[:, 0], labels.float())\n",
            ),
        ),
        source="transformers takes float labels for a regression",
    ),
    Guise(
        name="levels-of-grades-read-by-argmax",
        script="hf_trainer",
        places=(place("demo_32", "bn_cnn", epochs=10),),
        edits=(
            (
                "            loss = nn.functional.cross_entropy(logits, labels)\n",
                "            levels = labels.unsqueeze(1) >= torch.arange(logits.shape[1])\n"
                "            loss = nn.functional.binary_cross_entropy_with_logits(\n"
                "                logits, levels.float()\n"
                "            )\n",
            ),
        ),
        source="cumulative targets of ordered grades: read by counting levels, not by argmax",
    ),
)
