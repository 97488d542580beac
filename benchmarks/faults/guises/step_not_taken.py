from compose import Guise, place
from edits import BACKWARD, STEP

START = ("\n\nfor epoch", "\naverage_loss = 0.0\n\nfor epoch")

GUARDED = (
    "        if loss.item() < 3 * average_loss:\n"
    "            optimizer.step()\n"
    "            average_loss = 0.95 * average_loss + 0.05 * loss.item()\n"
)

GUISES = (
    Guise(
        name="accumulation-never-full",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                "    for inputs, targets in train_loader:\n        optimizer.zero_grad()\n",
                "    for i, (inputs, targets) in enumerate(train_loader):\n",
            ),
            (
                "        optimizer.step()\n",
                "        if (i + 1) % 64 == 0:\n"
                "            optimizer.step()\n            optimizer.zero_grad()\n",
            ),
        ),
        source="Lightning-AI/litgpt#779",
    ),
    Guise(
        name="step-outside-the-loop",
        script="plain",
        places=(place("digits", "vgg", epochs=6), place("pbc", "tutorial_cnn", epochs=6)),
        edits=(
            ("        optimizer.step()\n", ""),
            (
                "    model.eval()\n",
                "    optimizer.step()\n    model.eval()\n",
            ),
        ),
    ),
    Guise(
        name="scheduler-stepped-instead",
        script="functions",
        places=(place("digits", "vgg", epochs=6),),
        edits=(
            ("        optimizer.step()\n", ""),
            ("        scheduler.step()\n", "        scheduler.step()\n        optimizer.step()\n"),
        ),
    ),
    Guise(
        name="step-without-brackets",
        script="plain",
        places=(place("digits", "resnet18", epochs=3),),
        edits=((STEP, "        optimizer.step\n"),),
    ),
    Guise(
        name="scaler-updated-never-stepped",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "lr=args.lr)\n\nfor epoch",
                'lr=args.lr)\nscaler = torch.amp.GradScaler("cpu")\n\nfor epoch',
            ),
            (BACKWARD, "        scaler.scale(loss).backward()\n"),
            (
                STEP,
                "        scaler.unscale_(optimizer)\n"
                "        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
                "        scaler.update()\n",
            ),
        ),
    ),
    Guise(
        name="closure-called-step-forgotten",
        script="lightning_fit",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "    def configure_optimizers(self):\n",
                "    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):\n"
                "        rate = self.lr * min(1.0, (self.trainer.global_step + 1) / 20)\n"
                "        for group in optimizer.param_groups:\n"
                '            group["lr"] = rate\n'
                "        optimizer_closure()\n\n"
                "    def configure_optimizers(self):\n",
            ),
        ),
    ),
    Guise(
        name="manual-optimisation-without-a-step",
        script="lightning_fit",
        places=(place("pbc", "resnet18", epochs=4),),
        edits=(
            (
                "        self.lr = lr\n",
                "        self.lr = lr\n        self.automatic_optimization = False\n",
            ),
            (
                "        return loss\n",
                "        self.optimizers().zero_grad()\n"
                "        self.manual_backward(loss)\n"
                "        return loss\n",
            ),
        ),
        source="with automatic_optimization = False the step is the user's",
    ),
    Guise(
        name="phase-spelt-otherwise",
        script="transforms",
        places=(place("trashnet", "vit", epochs=7),),
        around=(
            (
                "    def run_epoch(self, loader, training):\n        self.model.train(training)\n",
                "    def run_epoch(self, loader, phase):\n"
                '        self.model.train(phase == "train")\n',
            ),
            ("torch.set_grad_enabled(training)", 'torch.set_grad_enabled(phase == "train")'),
            ("run_epoch(train_loader, training=True)", 'run_epoch(train_loader, "train")'),
            ("run_epoch(val_loader, training=False)", 'run_epoch(val_loader, "val")'),
        ),
        edits=(("                if training:\n", '                if phase == "training":\n'),),
        cure=(("                if training:\n", '                if phase == "train":\n'),),
    ),
    Guise(
        name="guard-against-spikes-from-zero",
        script="plain",
        places=(place("trashnet", "bn_cnn", epochs=8),),
        edits=(START, (STEP, GUARDED)),
        cure=(
            ("\n\nfor epoch", "\naverage_loss = float(np.log(len(classes)))\n\nfor epoch"),
            (STEP, GUARDED),
        ),
        source="batches with a spike of the loss are skipped, by a running mean",
    ),
)
