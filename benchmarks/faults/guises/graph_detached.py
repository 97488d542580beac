from compose import Guise, place
from edits import FORWARD

GUISES = (
    Guise(
        name="loss-rebuilt",
        script="plain",
        places=(
            place("digits", "vgg", epochs=6),
            place("demo", "tutorial_cnn", epochs=8),
        ),
        edits=(
            (
                "        loss = criterion(outputs, targets)\n        loss.backward()",
                "        loss = criterion(outputs, targets)\n"
                "        loss = torch.tensor(loss.item(), requires_grad=True)\n"
                "        loss.backward()",
            ),
        ),
    ),
    Guise(
        name="argmax-in-the-loss",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                "        loss = criterion(outputs, targets)\n        loss.backward()",
                "        guesses = outputs.argmax(dim=1).float().requires_grad_()\n"
                "        loss = nn.functional.mse_loss(guesses, targets.float())\n"
                "        loss.backward()",
            ),
        ),
    ),
    Guise(
        name="features-without-gradient",
        script="iterations",
        places=(place("digits", "mlp", steps=400),),
        edits=(
            ("        logits = model(x)\n", "        logits = model(x).data.requires_grad_()\n"),
        ),
        source="bboylyg/NAD#8",
    ),
    Guise(
        name="through-numpy",
        script="plain",
        places=(place("pbc", "mlp", epochs=6),),
        edits=(
            (
                "        outputs = model(inputs)\n" + FORWARD,
                "        outputs = model(inputs).detach().numpy()\n"
                "        outputs = torch.tensor(outputs / 1.0, requires_grad=True)\n" + FORWARD,
            ),
        ),
    ),
    Guise(
        name="penalty-keeps-a-graph",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                FORWARD,
                "        loss = criterion(outputs.detach(), targets)\n"
                "        loss = loss + 1e-4 * sum(p.pow(2).sum() for p in model.parameters())\n",
            ),
        ),
    ),
    Guise(
        name="backbone-under-no-grad",
        script="hf_trainer",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "        self.backbone = Net(in_channels, num_labels, side)\n",
                "        self.backbone = Net(in_channels, num_labels, side)\n"
                "        self.logit_scale = nn.Parameter(torch.ones(1))\n",
            ),
            (
                "        logits = self.backbone(pixel_values)\n",
                "        with torch.no_grad():\n"
                "            logits = self.backbone(pixel_values)\n"
                "        logits = self.logit_scale.exp() * logits\n",
            ),
        ),
    ),
    Guise(
        name="logits-rounded-in-front-of-the-loss",
        script="transforms",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        edits=(
            (
                "                logits = self.model(images)\n",
                "                logits = torch.round(self.model(images), decimals=2)\n",
            ),
        ),
        source="quantised outputs without a straight-through estimator",
    ),
    Guise(
        name="copies-of-the-weights-called",
        script="iterations",
        places=(place("digits", "mlp", steps=270),),
        edits=(
            (
                "        logits = model(x)\n        loss",
                "        weights = {n: p.detach().requires_grad_() for n, p in "
                "model.named_parameters()}\n"
                "        logits = torch.func.functional_call(model, weights, (x,))\n"
                "        loss",
            ),
        ),
        accepts=("parameters-not-optimised",),
    ),
    Guise(
        name="reentrant-checkpoint-of-the-images",
        script="lightning_fit",
        places=(place("demo_32", "bn_cnn", epochs=8),),
        around=(
            (
                "from torch.utils.data import DataLoader, TensorDataset\n",
                "from torch.utils.checkpoint import checkpoint\n"
                "from torch.utils.data import DataLoader, TensorDataset\n",
            ),
            (
                "        self.lr = lr\n",
                "        self.lr = lr\n"
                "        self.log_scale = torch.nn.Parameter(torch.zeros(1))\n",
            ),
            (
                "        return self.model(x)\n",
                "        logits = checkpoint(self.model, x, use_reentrant=False)\n"
                "        return self.log_scale.exp() * logits\n",
            ),
        ),
        edits=(("use_reentrant=False", "use_reentrant=True"),),
        source="a reentrant checkpoint passes no gradient on when no input requires one",
    ),
)
