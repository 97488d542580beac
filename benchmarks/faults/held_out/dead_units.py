from compose import Guise, place

GUISES = (
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
)
