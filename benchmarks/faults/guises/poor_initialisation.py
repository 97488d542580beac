from compose import Guise, place
from edits import LOSS, SGD, SGD_SETS, WITHOUT_NORM

GUISES = (
    Guise(
        name="zeros",
        script="plain",
        places=(
            place("digits", "tutorial_cnn", epochs=6),
            place("demo", "vgg", epochs=8),
        ),
        edits=(
            (
                "criterion = nn.CrossEntropyLoss()",
                "for parameter in model.parameters():\n    nn.init.zeros_(parameter)\n"
                "criterion = nn.CrossEntropyLoss()",
            ),
        ),
        source="olddocks/caffe-facialkp#1",
    ),
    Guise(
        name="normal-0.001-deep",
        script="functions",
        places=(place("digits", "vgg", epochs=6), place("pbc", "vgg", epochs=6)),
        edits=(
            (
                "    optimizer = optim.Adam(model.parameters(), lr=args.lr)",
                "    for module in model.modules():\n"
                "        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):\n"
                "            torch.nn.init.normal_(module.weight, std=0.001)\n"
                "            torch.nn.init.zeros_(module.bias)\n"
                "    optimizer = optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        accepts=("learning-rate-too-low",),
        source="kuangliu/pytorch-cifar#28",
        networks=WITHOUT_NORM,
    ),
    Guise(
        name="stacked-sigmoids",
        script="iterations",
        places=(place("digits", "mlp", steps=400),),
        around=(("torch.optim.AdamW(", "torch.optim.SGD("),),
        edits=(
            ("hidden=(128, 64)", "hidden=(128, 128, 128, 128, 64)"),
            ("nn.Linear(features, width), nn.ReLU()]", "nn.Linear(features, width), nn.Sigmoid()]"),
        ),
        accepts=("learning-rate-too-low",),
        source="SO 39217567",
        cure_settings=(("lr", 0.1),),
    ),
    Guise(
        name="vgg-without-norm",
        script="plain",
        places=(place("trashnet", "vgg", lr=0.01, epochs=7),),
        edits=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
            (
                '(12, 12, "pool", 24, 24, "pool", 48, 48, "pool")',
                '(12, 12, "pool", 24, 24, "pool", 48, 48, 48, "pool", 48, 48, 48)',
            ),
        ),
        cure_settings=(("lr", 0.001),),
        accepts=("learning-rate-too-low",),
        source="soumith/imagenet-multiGPU.torch#63",
    ),
    Guise(
        name="constant-0.01",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                LOSS,
                "for parameter in model.parameters():\n"
                "    nn.init.constant_(parameter, 0.01)\n" + LOSS,
            ),
        ),
        networks=("tutorial_cnn", "vgg", "mlp"),
    ),
    Guise(
        name="normal-of-two",
        script="plain",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                LOSS,
                "for parameter in model.parameters():\n"
                "    nn.init.normal_(parameter, std=2.0)\n" + LOSS,
            ),
        ),
        accepts=("learning-rate-too-low",),
        networks=("vgg",),
    ),
    Guise(
        name="uniform-without-bounds",
        script="functions",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "    optimizer = optim.Adam(",
                "    for parameter in model.parameters():\n"
                "        torch.nn.init.uniform_(parameter)\n"
                "    optimizer = optim.Adam(",
            ),
        ),
        accepts=("dead-units",),
        networks=WITHOUT_NORM,
        source="nn.init.uniform_ draws from 0 to 1",
    ),
    Guise(
        name="root-of-fan-in-forgotten",
        script="plain",
        places=(place("digits", "tutorial_cnn", lr=0.02, epochs=6),),
        around=(SGD,),
        edits=(
            (
                LOSS,
                "for module in model.modules():\n"
                "    if isinstance(module, (nn.Conv2d, nn.Linear)):\n"
                "        bound = 1 / module.weight[0].numel()\n"
                "        nn.init.uniform_(module.weight, -bound, bound)\n"
                "        nn.init.zeros_(module.bias)\n" + LOSS,
            ),
        ),
        accepts=("learning-rate-too-low",),
        networks=("tutorial_cnn", "mlp"),
        images=SGD_SETS,
    ),
    Guise(
        name="drawn-around-one-as-for-batchnorm",
        script="hf_trainer",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        edits=(
            (
                "def confusion_matrix(",
                "def init_weights(module):\n"
                "    if isinstance(module, (nn.Conv2d, nn.Linear)):\n"
                "        nn.init.normal_(module.weight, 1.0, 0.02)\n"
                "        nn.init.zeros_(module.bias)\n\n\n"
                "def confusion_matrix(",
            ),
            (
                "    training_args = TrainingArguments(\n",
                "    model.apply(init_weights)\n    training_args = TrainingArguments(\n",
            ),
        ),
        accepts=("dead-units",),
        networks=WITHOUT_NORM,
        source="DCGAN's weights_init: mean 1 is for BatchNorm, mean 0 for convolutions",
    ),
    Guise(
        name="zero-gamma-in-every-norm",
        script="iterations",
        places=(place("trashnet", "resnet18", steps=150),),
        edits=(
            (
                "    optimizer = torch.optim.AdamW(",
                "    for module in model.modules():\n"
                "        if isinstance(module, nn.BatchNorm2d):\n"
                "            nn.init.zeros_(module.weight)\n"
                "    optimizer = torch.optim.AdamW(",
            ),
        ),
        accepts=("dead-units",),
        networks=("resnet18",),
        source="zero_init_residual is for the last norm of a block",
    ),
    Guise(
        name="prior-bias-in-every-layer",
        script="functions",
        places=(place("trashnet", "mlp", epochs=7, gamma=0.9),),
        edits=(
            (
                "    optimizer = optim.Adam(",
                "    prior = torch.tensor(0.01)\n"
                "    for name, parameter in model.named_parameters():\n"
                '        if name.endswith("bias"):\n'
                "            torch.nn.init.constant_(parameter, -torch.log((1 - prior) / prior))\n"
                "    optimizer = optim.Adam(",
            ),
        ),
        accepts=("dead-units",),
        networks=WITHOUT_NORM,
        source="yhenon/pytorch-retinanet: the prior's bias is for the last layer only",
    ),
)
