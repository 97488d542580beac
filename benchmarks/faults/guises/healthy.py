"""Trainings in which nothing is wrong, the hard ones above all: slow, odd, noisy, imbalanced."""

from compose import Guise, place

SGD = ("optim.Adam(model.parameters(), lr=args.lr)", "optim.SGD(model.parameters(), lr=args.lr)")
MOMENTUM = (
    "optim.Adam(model.parameters(), lr=args.lr)",
    "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
)
LOADER = "train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)\n"
LOSS = "        loss = criterion(outputs, targets)\n"
ONE_UNIT = (
    ("Net(X.shape[1], len(classes), X.shape[2])", "Net(X.shape[1], 1, X.shape[2])"),
    ("nn.CrossEntropyLoss()", "nn.BCEWithLogitsLoss()"),
    (LOSS, "        loss = criterion(outputs.squeeze(1), targets.float())\n"),
    ("criterion(outputs, targets).item()", "criterion(outputs.squeeze(1), targets.float()).item()"),
    (
        "        predicted = outputs.argmax(dim=1)\n        np.add.at(train_",
        "        predicted = (outputs.squeeze(1) > 0).long()\n        np.add.at(train_",
    ),
    (
        "            predicted = outputs.argmax(dim=1)\n            np.add.at(val_",
        "            predicted = (outputs.squeeze(1) > 0).long()\n            np.add.at(val_",
    ),
)

GUISES = (
    Guise(
        name="tutorial",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", epochs=6),
            place("digits", "logistic", epochs=6),
            place("digits", "mlp", epochs=6),
            place("digits", "vgg", epochs=7),
        ),
    ),
    Guise(
        name="official-example",
        script="functions",
        places=(place("digits", "bn_cnn", epochs=5), place("digits", "tutorial_cnn", epochs=7)),
    ),
    Guise(
        name="iterations",
        script="iterations",
        places=(place("digits", "vit", steps=300), place("digits", "mlp", steps=400)),
    ),
    Guise(name="lightning", script="lightning_fit", places=(place("digits", "bn_cnn", epochs=5),)),
    Guise(name="hf-trainer", script="hf_trainer", places=(place("digits", "vgg", epochs=6),)),
    Guise(
        name="photos",
        script="plain",
        places=(
            place("trashnet", "bn_cnn", epochs=10),
            place("trashnet", "resnet18", epochs=7),
        ),
    ),
    Guise(
        name="demo-slides",
        script="functions",
        places=(place("demo", "bn_cnn", epochs=12, gamma=0.9),),
    ),
    Guise(
        name="long-tail-balanced-sampler",
        script="plain",
        places=(
            place("pbc", "bn_cnn", epochs=8),
            place("digits_rare", "tutorial_cnn", epochs=15),
        ),
        edits=(
            (
                LOADER,
                "counts = np.bincount(labels[:n_train], minlength=len(classes))\n"
                "sample_weights = 1.0 / counts[labels[:n_train]]\n"
                "sampler = torch.utils.data.WeightedRandomSampler(sample_weights, n_train)\n"
                "train_loader = DataLoader(train_set, batch_size=args.batch_size, "
                "sampler=sampler)\n",
            ),
        ),
    ),
    Guise(
        name="long-tail-weighted-loss",
        script="plain",
        places=(
            place("pbc", "bn_cnn", epochs=10),
            place("digits_rare", "vgg", epochs=20),
            place("digits_anomaly", "tutorial_cnn", epochs=10),
        ),
        edits=(
            (
                "nn.CrossEntropyLoss()",
                "nn.CrossEntropyLoss(\n"
                "    weight=torch.tensor(n_train / np.bincount(labels[:n_train]) / len(classes))"
                ".float()\n)",
            ),
        ),
    ),
    Guise(
        name="long-tail-adjusted-logits",
        script="plain",
        places=(place("pbc", "bn_cnn", epochs=10),),
        edits=(
            (
                "criterion = nn.CrossEntropyLoss()",
                "counts = np.bincount(labels[:n_train], minlength=len(classes))\n"
                "log_prior = torch.tensor(np.log(counts / n_train)).float()\n"
                "criterion = nn.CrossEntropyLoss()",
            ),
            (LOSS, "        loss = criterion(outputs + log_prior, targets)\n"),
        ),
    ),
    Guise(
        name="ten-to-one-learns",
        script="plain",
        places=(
            place("digits_eight", "tutorial_cnn", epochs=8),
            place("digits_eight", "bn_cnn", epochs=6),
        ),
    ),
    Guise(
        name="two-classes",
        script="plain",
        places=(
            place("digits_two", "tutorial_cnn", epochs=7),
            place("digits_two", "mlp", epochs=6),
        ),
    ),
    Guise(
        name="one-sigmoid-unit",
        script="plain",
        places=(place("digits_two", "tutorial_cnn", epochs=7),),
        edits=ONE_UNIT,
    ),
    Guise(
        name="fifty-classes",
        script="functions",
        places=(place("digits_fifty", "bn_cnn", epochs=3), place("digits_fifty", "vgg", epochs=3)),
    ),
    Guise(
        name="forty-percent-noise",
        script="plain",
        places=(place("digits", "bn_cnn", epochs=6), place("digits", "mlp", epochs=7)),
        edits=(
            (
                "y = torch.from_numpy(labels).long()\n",
                "noisy = np.random.rand(len(labels)) < 0.4\n"
                "labels = np.where(noisy, np.random.randint(len(classes), size=len(labels)), "
                "labels)\n"
                "y = torch.from_numpy(labels).long()\n",
            ),
        ),
    ),
    Guise(
        name="tiny-rate",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", lr=0.00005, epochs=12),
            place("digits", "vgg", lr=0.0001, epochs=14),
        ),
    ),
    Guise(
        name="slow-start",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", lr=0.01, epochs=24),
            place("digits", "tutorial_cnn", lr=0.02, epochs=14),
        ),
        edits=(SGD,),
    ),
    Guise(
        name="slow-start-momentum",
        script="plain",
        places=(place("digits", "vgg", lr=0.02, epochs=14),),
        edits=(MOMENTUM,),
    ),
    Guise(
        name="long-warmup",
        script="iterations",
        places=(
            place("digits", "vit", steps=400, warmup=200),
            place("digits", "vgg", steps=500, warmup=250),
        ),
    ),
    Guise(
        name="sgd-long-warmup",
        script="iterations",
        places=(place("digits", "bn_cnn", steps=400, warmup=300, lr=0.05),),
        edits=(
            ("torch.optim.AdamW(", "torch.optim.SGD("),
            ("weight_decay=args.weight_decay", "weight_decay=1e-4, momentum=0.9"),
        ),
    ),
    Guise(
        name="frozen-backbone",
        script="plain",
        places=(
            place("digits", "bn_cnn", lr=0.01, epochs=8),
            place("digits", "resnet18", lr=0.01, epochs=8),
        ),
        edits=(
            (
                "criterion = nn.CrossEntropyLoss()\n",
                "# features stay as they are, only the head is trained\n"
                "for name, parameter in model.named_parameters():\n"
                '    parameter.requires_grad = name.startswith("fc")\n'
                "criterion = nn.CrossEntropyLoss()\n",
            ),
            ("optim.Adam(model.parameters()", "optim.Adam(model.fc.parameters()"),
        ),
    ),
    Guise(
        name="batch-4",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", batch_size=4, lr=0.0005, epochs=2),
            place("digits", "mlp", batch_size=4, epochs=2),
        ),
    ),
    Guise(
        name="batch-256",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", batch_size=256, lr=0.002, epochs=15),
            place("digits", "bn_cnn", batch_size=256, epochs=12),
        ),
    ),
    Guise(
        name="dropout",
        script="plain",
        places=(place("digits", "vgg", epochs=12),),
        edits=(
            (
                "            nn.Flatten(),\n",
                "            nn.Flatten(),\n            nn.Dropout(0.5),\n",
            ),
            (
                "            nn.Linear(192, 96),\n            nn.ReLU(inplace=True),\n",
                "            nn.Linear(192, 96),\n            nn.ReLU(inplace=True),\n"
                "            nn.Dropout(0.5),\n",
            ),
        ),
    ),
    Guise(
        name="strong-augmentation",
        script="transforms",
        places=(place("digits", "bn_cnn", epochs=7),),
        edits=(
            (
                "        transforms.RandomAffine(degrees=10, translate=(0.1, 0.1)),\n"
                "        transforms.ToTensor(),\n",
                "        transforms.RandomAffine(degrees=30, translate=(0.2, 0.2), "
                "scale=(0.7, 1.3)),\n"
                "        transforms.ColorJitter(0.4, 0.4),\n"
                "        transforms.ToTensor(),\n"
                "        transforms.RandomErasing(p=0.5),\n",
            ),
        ),
    ),
    Guise(
        name="transforms",
        script="transforms",
        places=(place("digits", "tutorial_cnn", epochs=6), place("trashnet", "bn_cnn", epochs=8)),
    ),
    Guise(
        name="label-smoothing",
        script="plain",
        places=(place("digits", "bn_cnn", epochs=6), place("digits_two", "mlp", epochs=6)),
        edits=(("nn.CrossEntropyLoss()", "nn.CrossEntropyLoss(label_smoothing=0.2)"),),
    ),
    Guise(
        name="bf16-autocast",
        script="plain",
        places=(place("digits", "bn_cnn", epochs=6),),
        edits=(
            (
                "        outputs = model(inputs)\n" + LOSS,
                '        with torch.autocast("cpu", dtype=torch.bfloat16):\n'
                "            outputs = model(inputs)\n"
                "            loss = criterion(outputs, targets)\n",
            ),
        ),
    ),
    Guise(
        name="accumulation",
        script="plain",
        places=(place("digits", "tutorial_cnn", batch_size=8, lr=0.002, epochs=7),),
        edits=(
            (
                "    for inputs, targets in train_loader:\n        optimizer.zero_grad()\n",
                "    for i, (inputs, targets) in enumerate(train_loader):\n",
            ),
            ("        loss.backward()\n", "        (loss / 4).backward()\n"),
            (
                "        optimizer.step()\n",
                "        if (i + 1) % 4 == 0:\n"
                "            optimizer.step()\n            optimizer.zero_grad()\n",
            ),
        ),
    ),
    Guise(
        name="mse-on-one-hot",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=8),),
        edits=(
            ("nn.CrossEntropyLoss()", "nn.MSELoss()"),
            (
                LOSS,
                "        loss = criterion(outputs, nn.functional.one_hot(targets, 10).float())\n",
            ),
            (
                "criterion(outputs, targets).item()",
                "criterion(outputs, nn.functional.one_hot(targets, 10).float()).item()",
            ),
        ),
    ),
    Guise(
        name="hinge",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(("nn.CrossEntropyLoss()", "nn.MultiMarginLoss()"),),
    ),
    Guise(
        name="mixup",
        script="plain",
        places=(place("digits", "bn_cnn", epochs=7),),
        edits=(
            (
                "        optimizer.zero_grad()\n        outputs = model(inputs)\n" + LOSS,
                "        lam = np.random.beta(0.4, 0.4)\n"
                "        other = torch.randperm(len(inputs))\n"
                "        outputs = model(lam * inputs + (1 - lam) * inputs[other])\n"
                "        loss = lam * criterion(outputs, targets)\n"
                "        loss = loss + (1 - lam) * criterion(outputs, targets[other])\n"
                "        optimizer.zero_grad()\n",
            ),
        ),
    ),
    Guise(
        name="focal-by-hand",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=8), place("pbc", "bn_cnn", epochs=10)),
        edits=(
            (
                LOSS,
                "        log_probs = torch.log_softmax(outputs, dim=1)\n"
                "        log_pt = log_probs.gather(1, targets.unsqueeze(1)).squeeze(1)\n"
                "        loss = (-((1 - log_pt.exp()) ** 2) * log_pt).mean()\n",
            ),
        ),
    ),
    Guise(
        name="raw-pixels-that-learn",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", lr=0.0003, epochs=6),
            place("digits", "bn_cnn", epochs=5),
        ),
        edits=((".float() / 255\n", ".float()\n"), ("X = (X - 0.5) / 0.5\n", "")),
    ),
    Guise(
        name="log-softmax-and-cross-entropy",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(("        return x\n", "        return F.log_softmax(x, dim=1)\n"),),
    ),
    Guise(
        name="evaluation-without-loss",
        script="plain",
        places=(place("digits", "bn_cnn", epochs=5),),
        edits=(
            ("            val_loss += criterion(outputs, targets).item()\n", ""),
            ('        f"val loss {val_loss / len(val_loader):.4f}, "\n', ""),
        ),
    ),
    Guise(
        name="one-cycle",
        script="plain",
        places=(place("digits", "bn_cnn", lr=0.01, epochs=7),),
        edits=(
            (
                "optimizer = optim.Adam(model.parameters(), lr=args.lr)\n",
                "optimizer = optim.Adam(model.parameters())\n"
                "scheduler = optim.lr_scheduler.OneCycleLR(\n"
                "    optimizer, max_lr=args.lr, steps_per_epoch=len(train_loader), "
                "epochs=args.epochs\n)\n",
            ),
            ("        optimizer.step()\n", "        optimizer.step()\n        scheduler.step()\n"),
        ),
    ),
)
