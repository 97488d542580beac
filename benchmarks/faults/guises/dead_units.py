from compose import Guise, place
from edits import LOSS

GUISES = (
    Guise(
        name="narrow-relu-before-the-head",
        script="plain",
        places=(place("digits", "tutorial_cnn", lr=0.03, epochs=6),),
        edits=(
            ("self.fc2 = nn.Linear(120, 84)", "self.fc2 = nn.Linear(120, 2)"),
            ("self.fc3 = nn.Linear(84, num_classes)", "self.fc3 = nn.Linear(2, num_classes)"),
        ),
        cure_settings=(("lr", 0.001),),
        accepts=("learning-rate-too-high", "model-too-small"),
        source="keras-team/keras#13891",
    ),
    Guise(
        name="negative-biases",
        script="functions",
        places=(place("digits", "vgg", epochs=6), place("demo", "vgg", epochs=8)),
        edits=(
            (
                "    optimizer = optim.Adam(",
                "    for module in model.modules():\n"
                "        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):\n"
                "            torch.nn.init.xavier_uniform_(module.weight)\n"
                "            torch.nn.init.constant_(module.bias, -1.0)\n"
                "    optimizer = optim.Adam(",
            ),
        ),
        networks=("vgg", "tutorial_cnn"),
        accepts=("poor-initialisation",),
    ),
    Guise(
        name="weights-drawn-below-zero",
        script="plain",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                LOSS,
                "for module in model.modules():\n"
                "    if isinstance(module, (nn.Conv2d, nn.Linear)):\n"
                "        nn.init.uniform_(module.weight, -0.1, 0.0)\n"
                "        nn.init.zeros_(module.bias)\n" + LOSS,
            ),
        ),
        accepts=("poor-initialisation",),
        networks=("tutorial_cnn", "vgg", "mlp"),
    ),
    Guise(
        name="shrinkage-for-relu",
        script="functions",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "nn.Linear(features, width), nn.ReLU()]",
                "nn.Linear(features, width), nn.Hardshrink(lambd=5.0)]",
            ),
        ),
        networks=("mlp",),
    ),
    Guise(
        name="rare-object-prior-in-every-layer",
        script="hf_trainer",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "    training_args = TrainingArguments(\n",
                "    for module in model.modules():\n"
                "        if isinstance(module, (nn.Conv2d, nn.Linear)):\n"
                "            nn.init.constant_(module.bias, float(-np.log(0.99 / 0.01)))\n"
                "    training_args = TrainingArguments(\n",
            ),
        ),
        accepts=("poor-initialisation",),
        networks=("tutorial_cnn", "vgg", "mlp"),
        source="the prior bias of a focal-loss head, given to all layers",
    ),
    Guise(
        name="largest-subtracted-before-relu",
        script="iterations",
        places=(place("trashnet", "tutorial_cnn", steps=240),),
        edits=(
            (
                "        x = F.relu(self.fc2(x))\n",
                "        x = self.fc2(x)\n        x = F.relu(x - x.amax(dim=1, keepdim=True))\n",
            ),
        ),
        networks=("tutorial_cnn",),
    ),
    Guise(
        name="weights-held-below-zero",
        script="transforms",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "                    self.optimizer.step()\n",
                "                    self.optimizer.step()\n"
                "                    for p in self.model.parameters():\n"
                "                        p.data.clamp_(max=0)\n",
            ),
        ),
        networks=("tutorial_cnn", "vgg", "mlp"),
    ),
    Guise(
        name="sparsity-penalty-on-summed-activations",
        script="lightning_fit",
        places=(place("digits", "vgg", epochs=7),),
        around=(
            (
                "        self.lr = lr\n",
                "        self.lr = lr\n"
                "        self.activity = []\n"
                "        for module in self.modules():\n"
                "            if isinstance(module, torch.nn.ReLU):\n"
                "                module.register_forward_hook(self.keep)\n",
            ),
            (
                "    def forward(self, x):\n        return self.model(x)\n",
                "    def keep(self, module, args, output):\n"
                "        self.activity.append(output.abs().mean())\n\n"
                "    def forward(self, x):\n"
                "        self.activity.clear()\n"
                "        return self.model(x)\n",
            ),
            ("        return loss\n", "        return loss + 0.01 * sum(self.activity)\n"),
        ),
        edits=(("output.abs().mean()", "output.abs().sum()"),),
        networks=("vgg", "mlp"),
        source="an activity regulariser, its share chosen for a mean",
    ),
)
