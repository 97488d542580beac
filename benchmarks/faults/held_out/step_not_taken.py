from compose import Guise, place

GUISES = (
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
)
