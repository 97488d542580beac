from compose import Guise, place
from edits import LEARN_BY_SGD, SGD, SGD_SETS

ZERO = "        optimizer.zero_grad()\n"

GUISES = (
    Guise(
        name="no-zero-grad",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", lr=0.05, epochs=6),
            place("pbc", "vgg", lr=0.05, epochs=6),
        ),
        around=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(("        optimizer.zero_grad()\n", ""),),
        source="SO 60335387",
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
    Guise(
        name="zero-grad-in-an-untaken-branch",
        script="transforms",
        places=(place("digits", "tutorial_cnn", lr=0.1, epochs=6),),
        around=(
            (
                "torch.optim.Adam(model.parameters(), lr=args.lr)",
                "torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(
            (
                "                    self.optimizer.zero_grad()\n",
                "                    if self.model.training is False:\n"
                "                        self.optimizer.zero_grad()\n",
            ),
        ),
        source="NirAharon/BoT-SORT#85",
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
        cure_settings=(("lr", 0.05),),
    ),
    Guise(
        name="zero-grad-without-brackets",
        script="plain",
        places=(place("digits", "mlp", lr=0.05, epochs=6),),
        around=(SGD,),
        edits=((ZERO, "        optimizer.zero_grad\n"),),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
    Guise(
        name="zero-grad-once-an-epoch",
        script="plain",
        places=(place("trashnet", "vgg", lr=0.02, epochs=14),),
        around=(SGD,),
        edits=(
            (ZERO, ""),
            ("    running_loss = 0.0\n", "    running_loss = 0.0\n    optimizer.zero_grad()\n"),
        ),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
    Guise(
        name="zero-grad-of-the-loss-module",
        script="plain",
        places=(place("trashnet", "mlp", lr=0.05, epochs=7),),
        around=(SGD,),
        edits=(("        optimizer.zero_grad()\n", "        criterion.zero_grad()\n"),),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
    Guise(
        name="zero-grad-hook-overridden",
        script="lightning_fit",
        places=(place("digits", "tutorial_cnn", lr=0.05, epochs=6),),
        around=(
            (
                "torch.optim.Adam(self.parameters(), lr=self.lr)",
                "torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)",
            ),
        ),
        edits=(
            (
                "    def configure_optimizers(self):\n",
                "    def optimizer_zero_grad(self, epoch, batch_idx, optimizer):\n"
                "        pass  # the trainer does it\n\n"
                "    def configure_optimizers(self):\n",
            ),
        ),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
    Guise(
        name="sum-over-parts-never-begun-anew",
        script="iterations",
        places=(place("digits", "mlp", steps=270, lr=0.05),),
        around=(
            (
                "torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)",
                "torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(
            (
                "    stream = batches(x_train, y_train, args.batch_size)\n",
                "    stream = batches(x_train, y_train, args.batch_size)\n"
                "    total = [torch.zeros_like(p) for p in model.parameters()]\n",
            ),
            (
                "        loss.backward()\n",
                "        for part in (slice(0, 16), slice(16, None)):\n"
                "            share = criterion(logits[part], y[part]) / 2\n"
                "            grads = torch.autograd.grad(\n"
                "                share, list(model.parameters()), retain_graph=True\n"
                "            )\n"
                "            for sum_of, grad in zip(total, grads):\n"
                "                sum_of += grad\n"
                "        for p, sum_of in zip(model.parameters(), total):\n"
                "            p.grad = sum_of.clone()\n",
            ),
        ),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
    Guise(
        name="cleared-when-the-loss-is-printed",
        script="functions",
        places=(place("trashnet", "resnet18", epochs=5, lr=0.05),),
        around=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(
            ("        optimizer.zero_grad()\n", ""),
            (
                "        if batch_idx % args.log_interval == 0:\n",
                "        if batch_idx % args.log_interval == 0:\n"
                "            optimizer.zero_grad()\n",
            ),
        ),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
    Guise(
        name="two-optimizers-one-cleared",
        script="iterations",
        places=(place("digits", "tutorial_cnn", steps=270, lr=0.05),),
        around=(
            (
                "    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, "
                "weight_decay=args.weight_decay)\n",
                "    *body, weight, bias = model.parameters()\n"
                "    optimizer = torch.optim.SGD(body, lr=args.lr, momentum=0.9)\n"
                "    head_optimizer = torch.optim.SGD([weight, bias], lr=0.01, momentum=0.9)\n",
            ),
            (
                "        optimizer.step()\n",
                "        optimizer.step()\n        head_optimizer.step()\n",
            ),
        ),
        edits=(
            (
                "        optimizer.zero_grad(set_to_none=True)\n",
                "        head_optimizer.zero_grad(set_to_none=True)\n",
            ),
        ),
        cure=(
            (
                "        optimizer.zero_grad(set_to_none=True)\n",
                "        optimizer.zero_grad(set_to_none=True)\n"
                "        head_optimizer.zero_grad(set_to_none=True)\n",
            ),
        ),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
)
