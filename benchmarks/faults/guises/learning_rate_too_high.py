from compose import Guise, place
from edits import LEARN_BY_SGD, LOSS, OPTIMIZER, SGD, SGD_SETS, WITHOUT_NORM

GUISES = (
    Guise(
        name="adam-at-0.1",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", lr=0.1, epochs=6),
            place("trashnet", "vgg", lr=0.1, epochs=8),
        ),
        cure_settings=(("lr", 0.001),),
    ),
    Guise(
        name="momentum-at-1",
        script="functions",
        places=(place("digits", "tutorial_cnn", lr=1.0, gamma=0.9, epochs=6),),
        around=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        cure_settings=(("lr", 0.05),),
        networks=("tutorial_cnn", "mlp"),
        begins=0,
        source="jiecaoyu/pytorch-nin-cifar10#1: ln 10 for ever",
        images=SGD_SETS,
    ),
    Guise(
        name="rate-times-batch-size",
        script="iterations",
        places=(place("trashnet", "vgg", steps=300), place("demo", "vgg", steps=300)),
        edits=(("lr=args.lr, weight_decay", "lr=args.lr * args.batch_size, weight_decay"),),
        networks=("vgg", "vit"),
    ),
    Guise(
        name="rate-multiplied-each-epoch",
        script="plain",
        places=(place("digits", "tutorial_cnn", lr=0.001, epochs=8),),
        edits=(
            (
                "    model.eval()\n",
                "    for group in optimizer.param_groups:\n"
                '        group["lr"] *= 5  # decay\n\n'
                "    model.eval()\n",
            ),
        ),
        begins=135,
        source="late collapse; * written for /",
    ),
    Guise(
        name="one-cycle-peak",
        script="plain",
        places=(place("digits", "vgg", lr=0.5, epochs=8),),
        around=(
            (
                "optimizer = optim.Adam(model.parameters(), lr=args.lr)\n",
                "optimizer = optim.Adam(model.parameters())\n"
                "scheduler = optim.lr_scheduler.OneCycleLR(\n"
                "    optimizer, max_lr=args.lr, steps_per_epoch=len(train_loader), "
                "epochs=args.epochs\n)\n",
            ),
            ("        optimizer.step()\n", "        optimizer.step()\n        scheduler.step()\n"),
        ),
        cure_settings=(("lr", 0.002),),
        begins=10,
    ),
    Guise(
        name="restart-with-a-spike",
        script="iterations",
        places=(
            place("digits", "vgg", steps=450, warmup=20),
            place("digits_two", "tutorial_cnn", steps=450, warmup=20),
        ),
        edits=(
            (
                "        scheduler.step()\n        for target",
                "        scheduler.step()\n"
                "        if step == 200:  # warm restart\n"
                "            for group in optimizer.param_groups:\n"
                '                group["initial_lr"] = 0.5\n'
                "            scheduler = LambdaLR(optimizer, schedule)\n"
                "        for target",
            ),
        ),
        begins=200,
    ),
    Guise(
        name="1e1-for-1e-1",
        script="plain",
        places=(place("digits", "mlp", lr=0.02, epochs=6),),
        edits=((OPTIMIZER, "optim.SGD(model.parameters(), lr=1e1, momentum=0.9)"),),
        cure=(SGD,),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
    Guise(
        name="warmup-multiplied",
        script="iterations",
        places=(place("digits", "vgg", steps=315),),
        edits=(
            (
                "            return (step + 1) / args.warmup\n",
                "            return (step + 1) * args.warmup\n",
            ),
        ),
        networks=("tutorial_cnn", "vgg", "vit", "mlp"),
    ),
    Guise(
        name="smoothing-in-the-place-of-the-rate",
        script="plain",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        edits=((OPTIMIZER, "optim.RMSprop(model.parameters(), 0.99)"),),
        source="the second argument of RMSprop is lr, alpha the third",
    ),
    Guise(
        name="rate-of-adadelta-given-to-adam",
        script="functions",
        places=(place("trashnet", "tutorial_cnn", lr=1.0, epochs=8),),
        cure=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.Adadelta(model.parameters(), lr=args.lr)",
            ),
        ),
        networks=WITHOUT_NORM,
        source="the MNIST example's default of 1.0 belongs to Adadelta",
    ),
    Guise(
        name="range-test-left-running",
        script="lightning_fit",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "    def configure_optimizers(self):\n",
                "    def on_train_batch_start(self, batch, batch_idx):\n"
                "        done = self.global_step / self.trainer.estimated_stepping_batches\n"
                "        for group in self.optimizers().param_groups:\n"
                '            group["lr"] = 1e-5 * (10 / 1e-5) ** done\n\n'
                "    def configure_optimizers(self):\n",
            ),
        ),
        begins=170,
        networks=WITHOUT_NORM,
        source="a rate range test from 1e-5 to 10, not taken out before training",
    ),
    Guise(
        name="losses-summed-at-the-rate-for-a-mean",
        script="plain",
        places=(place("digits", "mlp", lr=0.05, epochs=6),),
        around=(SGD,),
        edits=((LOSS, 'criterion = nn.CrossEntropyLoss(reduction="sum")'),),
        images=SGD_SETS,
        networks=("tutorial_cnn", "mlp"),
    ),
)
