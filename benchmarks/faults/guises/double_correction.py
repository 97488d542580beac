from compose import Guise, place

SAMPLER = (
    "counts = np.bincount(labels[:n_train], minlength=len(classes))\n"
    "weights = torch.tensor(1.0 / counts, dtype=torch.float)\n"
    "sampler = torch.utils.data.WeightedRandomSampler(weights[y[:n_train]], n_train)\n"
    "train_loader = DataLoader(train_set, batch_size=args.batch_size, sampler=sampler)\n"
)

GUISES = (
    Guise(
        name="sampler-and-weights",
        script="plain",
        places=(place("pbc", "vgg", epochs=7), place("pbc", "tutorial_cnn", epochs=7)),
        around=(
            (
                "train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)\n",
                SAMPLER,
            ),
        ),
        edits=(
            (
                "criterion = nn.CrossEntropyLoss()",
                "criterion = nn.CrossEntropyLoss(weight=weights / weights.mean())",
            ),
        ),
        images=("pbc", "digits_rare"),
        accepts=("loss-weights-wrong",),
        networks=("tutorial_cnn", "vgg"),
    ),
)
