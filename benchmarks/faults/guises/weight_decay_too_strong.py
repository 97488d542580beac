from compose import Guise, place
from edits import FORWARD, OPTIMIZER, SGD, SGD_SETS

ADAM = "        return torch.optim.Adam(self.parameters(), lr=self.lr)\n"

ADAMW = "        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=0.02)\n"

RAMP = (
    "    def {hook}:\n"
    "        for group in self.optimizers().param_groups:\n"
    '            group["weight_decay"] *= 1.04\n\n'
)

CONFIGURE = "    def configure_optimizers(self):\n"

GUISES = (
    Guise(
        name="decay-0.5",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", lr=0.01, epochs=7),
            place("pbc", "vgg", lr=0.01, epochs=7),
        ),
        edits=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=0.5)",
            ),
        ),
        cure=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        source="BVLC/caffe#1396",
        networks=("tutorial_cnn", "mlp"),
        images=SGD_SETS,
    ),
    Guise(
        name="l2-in-adam",
        script="functions",
        places=(place("digits", "vgg", epochs=6), place("trashnet", "tutorial_cnn", epochs=8)),
        edits=(("lr=args.lr)\n    scheduler", "lr=args.lr, weight_decay=1.0)\n    scheduler"),),
        source="keras-team/keras#1895",
    ),
    Guise(
        name="penalty-by-hand",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                FORWARD,
                FORWARD
                + "        loss = loss + 0.25 * sum(p.pow(2).sum() for p in model.parameters())\n",
            ),
        ),
        networks=("mlp", "tutorial_cnn", "vgg"),
        source="keras-team/keras#1895: l2(0.25)",
    ),
    Guise(
        name="arguments-by-position",
        script="plain",
        places=(place("digits", "vgg", lr=0.01, epochs=7),),
        edits=((OPTIMIZER, "optim.SGD(model.parameters(), args.lr, 0.9, 0, 0.9)"),),
        cure=(SGD,),
        networks=("tutorial_cnn", "mlp"),
        source="the fifth argument of SGD is weight_decay",
        images=SGD_SETS,
    ),
    Guise(
        name="lasso-on-everything",
        script="functions",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                "        loss = F.nll_loss(output, target)\n",
                "        loss = F.nll_loss(output, target)\n"
                "        loss = loss + 0.1 * sum(p.abs().sum() for p in model.parameters())\n",
            ),
        ),
        networks=("tutorial_cnn", "vgg", "mlp"),
    ),
    Guise(
        name="decay-divided-by-the-rate",
        script="iterations",
        places=(place("digits", "mlp", steps=270),),
        edits=(("weight_decay=args.weight_decay)", "weight_decay=0.5 / args.lr)"),),
        networks=("tutorial_cnn", "vgg", "mlp"),
        source="AdamW multiplies its decay by the rate",
    ),
    Guise(
        name="decay-for-the-sum-over-images",
        script="hf_trainer",
        places=(place("trashnet", "mlp", epochs=7),),
        edits=(
            (
                "        learning_rate=args.lr,\n",
                "        learning_rate=args.lr,\n        weight_decay=0.5 * len(train_dataset),\n",
            ),
        ),
        networks=("tutorial_cnn", "vgg", "mlp"),
        source="a penalty scaled for a summed loss, beside a mean",
    ),
    Guise(
        name="decoupled-by-hand-without-the-rate",
        script="iterations",
        places=(place("digits", "vit", steps=315),),
        around=(("weight_decay=args.weight_decay)", "weight_decay=0.0)"),),
        edits=(
            (
                "        optimizer.step()\n",
                "        optimizer.step()\n"
                "        with torch.no_grad():\n"
                "            for parameter in model.parameters():\n"
                "                parameter.mul_(1 - args.weight_decay)\n",
            ),
        ),
        source="decoupled decay is multiplied by the learning rate",
    ),
    Guise(
        name="decay-raised-at-each-batch",
        script="lightning_fit",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        around=((ADAM, ADAMW),),
        edits=((CONFIGURE, RAMP.format(hook="on_train_batch_end(self, *args)") + CONFIGURE),),
        cure=((CONFIGURE, RAMP.format(hook="on_train_epoch_end(self)") + CONFIGURE),),
        begins=120,
        images=("trashnet",),
        networks=("tutorial_cnn", "vgg", "mlp"),
        source="a schedule of the decay meant for epochs",
    ),
)
