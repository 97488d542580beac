from compose import Guise, place
from edits import LOSS

GUISES = (
    Guise(
        name="average-of-weights-without-buffers",
        script="plain",
        places=(place("trashnet", "bn_cnn", epochs=8),),
        edits=(
            ("import argparse\n", "import argparse\nimport copy\n"),
            (LOSS, "averaged = copy.deepcopy(model)\n" + LOSS),
            (
                "    model.eval()\n",
                "    with torch.no_grad():\n"
                "        for mean, p in zip(averaged.parameters(), model.parameters()):\n"
                "            mean.lerp_(p, 0.9)\n"
                "    averaged.eval()\n",
            ),
            (
                "            outputs = model(inputs)\n            val_loss",
                "            outputs = averaged(inputs)\n            val_loss",
            ),
        ),
        begins=None,
        images=("trashnet", "pbc"),
        networks=("resnet18", "bn_cnn"),
        source="an EMA that copies parameters() and leaves running statistics as they began",
    ),
    Guise(
        name="training-mode-one-by-one",
        script="transforms",
        places=(place("trashnet", "bn_cnn", epochs=8),),
        edits=(
            ("        self.model.train(training)\n", "        self.model.train()\n"),
            (
                "DataLoader(val_set, batch_size=64, shuffle=False)",
                "DataLoader(val_set, batch_size=1, shuffle=False)",
            ),
        ),
        begins=None,
        images=("trashnet", "pbc"),
        networks=("resnet18", "bn_cnn"),
        source="Cadene/pretrained-models.pytorch#4",
    ),
)
