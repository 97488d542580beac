from compose import Guise, place
from edits import FORWARD, LOSS, NETWORK

COLUMN = "criterion(outputs, targets.float().unsqueeze(1))"

READ = "        predicted = outputs.argmax(dim=1)\n        np.add.at(train_"

READ_LATER = "            predicted = outputs.argmax(dim=1)\n            np.add.at(val_"

HF_LOSS = "            loss = nn.functional.cross_entropy(logits, labels)\n"

VOTES = (
    "            votes = nn.functional.one_hot(labels.view(len(labels), -1), logits.shape[1])\n"
    "            truth = votes.float().mean(dim=0)\n"
    "            log_probs = logits.log_softmax(dim=1)\n"
    '            loss = nn.functional.kl_div(log_probs, truth, reduction="batchmean")\n'
)

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
    Guise(
        name="ids-in-a-column-against-scores",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (LOSS, "criterion = nn.MSELoss()"),
            (FORWARD, f"        loss = {COLUMN}\n"),
            ("val_loss += criterion(outputs, targets).item()", f"val_loss += {COLUMN}.item()"),
        ),
        accepts=("loss-mismatch",),
    ),
    Guise(
        name="column-against-row-smooth-l1",
        script="plain",
        places=(place("digits_two", "mlp", epochs=7), place("digits_two", "vgg", epochs=8)),
        around=(
            (NETWORK, NETWORK.replace("len(classes)", "1")),
            (LOSS, "criterion = nn.SmoothL1Loss()"),
            (READ, READ.replace("outputs.argmax(dim=1)", "(outputs > 0.5).long().squeeze(1)")),
            (
                READ_LATER,
                READ_LATER.replace("outputs.argmax(dim=1)", "(outputs > 0.5).long().squeeze(1)"),
            ),
            ("val_loss += criterion(outputs, targets).item()", f"val_loss += {COLUMN}.item()"),
        ),
        edits=((FORWARD, "        loss = criterion(outputs, targets.float())\n"),),
        cure=((FORWARD, f"        loss = {COLUMN}\n"),),
        images=("digits_two", "digits_eight"),
        networks=("mlp", "vgg"),
        source="pytorch/pytorch#16045",
    ),
    Guise(
        name="one-hot-of-a-column",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        around=(
            (LOSS, "criterion = nn.MSELoss()"),
            (
                FORWARD,
                "        one_hot = nn.functional.one_hot(targets, len(classes)).float()\n"
                "        loss = criterion(outputs, one_hot)\n",
            ),
            (
                "val_loss += criterion(outputs, targets).item()",
                "val_loss += criterion(outputs, torch.eye(len(classes))[targets]).item()",
            ),
        ),
        edits=(
            (
                "nn.functional.one_hot(targets, len(classes))",
                "nn.functional.one_hot(targets.view(-1, 1), len(classes))",
            ),
        ),
        images=("digits", "trashnet"),
        networks=("tutorial_cnn", "mlp", "vgg"),
    ),
    Guise(
        name="columns-of-all-targets-picked",
        script="functions",
        places=(place("trashnet", "vit", epochs=7),),
        edits=(
            (
                "        loss = F.nll_loss(output, target)\n",
                "        loss = -output[:, target].mean()\n",
            ),
        ),
    ),
    Guise(
        name="smooth-targets-written-to-every-row",
        script="lightning_fit",
        places=(place("digits", "resnet18", epochs=3),),
        edits=(
            (
                "        loss = F.cross_entropy(logits, y)\n"
                "        for target, prediction in zip(y.tolist(), logits.argmax(1).tolist()):\n"
                "            self.train",
                "        smooth = torch.full_like(logits, 0.1 / (self.num_classes - 1))\n"
                "        smooth[:, y] = 0.9\n"
                "        loss = -(smooth * F.log_softmax(logits, dim=1)).sum(dim=1).mean()\n"
                "        for target, prediction in zip(y.tolist(), logits.argmax(1).tolist()):\n"
                "            self.train",
            ),
        ),
    ),
    Guise(
        name="votes-averaged-over-the-images",
        script="hf_trainer",
        places=(place("digits", "vgg", epochs=7),),
        edits=((HF_LOSS, VOTES),),
        cure=((HF_LOSS, VOTES.replace("dim=0", "dim=1")),),
        source="votes of one rater (images, raters, classes): a single row of targets is left",
    ),
)
