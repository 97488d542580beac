from compose import Guise, place
from edits import FORWARD

GUISES = (
    Guise(
        name="brightness-jitter-in-grey-levels",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                "        outputs = model(inputs)\n" + FORWARD,
                "        shift = torch.empty(len(inputs), 1, 1, 1).uniform_(-200, 200)\n"
                "        outputs = model(inputs + shift)\n" + FORWARD,
            ),
        ),
        networks=("tutorial_cnn", "vgg", "mlp"),
    ),
    Guise(
        name="rand-augment-twenty-times",
        script="transforms",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "        transforms.RandomAffine(degrees=10, translate=(0.1, 0.1)),\n",
                "        transforms.RandAugment(num_ops=20, magnitude=30),\n",
            ),
        ),
        networks=("tutorial_cnn", "vgg", "mlp"),
    ),
)
