from compose import Guise, place
from edits import LOSS

DROP_CONNECT = """\
class DropConnect(nn.Module):
    def forward(self, weight):
        return nn.functional.dropout(weight, 0.02, self.training)


for module in list(model.modules()):
    if isinstance(module, nn.Linear):
        nn.utils.parametrize.register_parametrization(module, "weight", DropConnect())

"""

GUISES = (
    Guise(
        name="share-to-keep-given-as-share-to-drop",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                "        x = F.relu(self.fc1(x))\n",
                "        x = F.dropout(F.relu(self.fc1(x)), 0.98, self.training)\n",
            ),
        ),
    ),
    Guise(
        name="dropout-behind-every-layer",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "layers += [nn.Linear(features, width), nn.ReLU()]",
                "layers += [nn.Linear(features, width), nn.ReLU(), nn.Dropout(0.97)]",
            ),
        ),
    ),
    Guise(
        name="head-dropped",
        script="plain",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "            nn.Flatten(),\n",
                "            nn.Flatten(),\n            nn.Dropout(0.99),\n",
            ),
        ),
    ),
    Guise(
        name="transformer-dropout-0.95",
        script="plain",
        places=(place("digits", "vit", epochs=7),),
        edits=(("2 * dim, dropout=0.1", "2 * dim, dropout=0.95"),),
        source="lucidrains/vit-pytorch#16, further",
    ),
    Guise(
        name="feature-maps-dropped",
        script="functions",
        places=(place("digits", "bn_cnn", epochs=5),),
        edits=(
            (
                "        nn.MaxPool2d(2),\n",
                "        nn.MaxPool2d(2),\n        nn.Dropout2d(0.95),\n",
            ),
        ),
        networks=("bn_cnn",),
    ),
    Guise(
        name="tokens-dropped",
        script="iterations",
        places=(place("digits", "vit", steps=315),),
        edits=(
            (
                "        tokens = tokens + self.positions[:, : tokens.shape[1]]\n",
                "        tokens = tokens + self.positions[:, : tokens.shape[1]]\n"
                "        tokens = nn.functional.dropout(tokens, 0.98, self.training)\n",
            ),
        ),
        networks=("vit",),
    ),
    Guise(
        name="channels-dropped-behind-every-residual-block",
        script="transforms",
        places=(place("trashnet", "resnet18", epochs=5),),
        edits=(
            (
                "        return F.relu(out + self.shortcut(x))\n",
                "        out = F.relu(out + self.shortcut(x))\n"
                "        return F.dropout2d(out, 0.9, self.training)\n",
            ),
        ),
        networks=("resnet18",),
    ),
    Guise(
        name="dropout-grows-with-the-epochs",
        script="functions",
        places=(place("digits", "vit", epochs=7),),
        edits=(
            (
                "    for epoch in range(1, args.epochs + 1):\n",
                "    for epoch in range(1, args.epochs + 1):\n"
                "        for module in model.modules():\n"
                "            if isinstance(module, torch.nn.Dropout):\n"
                "                module.p = min(0.5 * epoch, 0.99)\n",
            ),
        ),
        begins=45,
        networks=("vit",),
    ),
    Guise(
        name="connections-kept-given-as-dropped",
        script="plain",
        places=(place("trashnet", "mlp", epochs=7),),
        around=(
            (
                "import torch.optim as optim\n",
                "import torch.nn.utils.parametrize\nimport torch.optim as optim\n",
            ),
            (LOSS, DROP_CONNECT + LOSS),
        ),
        edits=(("dropout(weight, 0.02, ", "dropout(weight, 0.98, "),),
        networks=("mlp", "vgg", "tutorial_cnn"),
    ),
)
