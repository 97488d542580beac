from compose import Guise, place

LOADER = "    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)\n"
TRAINER = '    trainer = Trainer(model, optimizer, criterion, classes, torch.device("cpu"))\n'
EPOCH = "            train_loss, self.train_confusion"

GUISES = (
    Guise(
        name="deferred-weights-on-a-balanced-sampler",
        script="transforms",
        places=(place("pbc", "tutorial_cnn", epochs=8),),
        around=(
            (
                LOADER,
                "    counts = np.bincount(labels[train_idx], minlength=len(classes))\n"
                "    per_image = 1.0 / counts[labels[train_idx]]\n"
                "    sampler = torch.utils.data.WeightedRandomSampler(per_image, len(per_image))\n"
                + LOADER.replace("shuffle=True", "sampler=sampler"),
            ),
        ),
        edits=(
            (TRAINER, TRAINER + "    trainer.counts = counts\n"),
            (
                EPOCH,
                "            beta = 0.0 if epoch < 2 else 0.9999\n"
                "            weights = (1 - beta) / (1 - beta**self.counts)\n"
                "            weights = weights / weights.sum() * len(self.classes)\n"
                "            self.criterion.weight = torch.tensor(weights).float()\n" + EPOCH,
            ),
        ),
        begins=94,
        accepts=("loss-weights-wrong",),
        images=("pbc",),
        networks=("tutorial_cnn", "vgg"),
        source="LDAM's deferred re-weighting is for batches that are not balanced",
    ),
)
