from compose import Guise, place
from edits import FORWARD

NORMALIZE = "        transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),\n"

GAMMA = "        transforms.Lambda(lambda image: image ** (0.7 + 0.6 * torch.rand(1))),\n"

REST = "    ]\n)\nval_transform = "

GUISES = (
    Guise(
        name="divided-by-a-zero-deviation",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(("X = (X - 0.5) / 0.5\n", "X = (X - X.mean(dim=0)) / X.std(dim=0)\n"),),
    ),
    Guise(
        name="log-of-zero",
        script="plain",
        places=(place("digits", "vgg", lr=0.02, epochs=6), place("pbc", "vgg", lr=0.02, epochs=6)),
        edits=(
            (
                "        loss = criterion(outputs, targets)\n",
                "        probs = torch.softmax(outputs * 10, dim=1)\n"
                "        loss = -torch.log(probs[range(len(targets)), targets]).mean()\n",
            ),
        ),
        cure_settings=(("lr", 0.001),),
        networks=("vgg",),
    ),
    Guise(
        name="one-broken-image",
        script="iterations",
        places=(place("digits", "vgg", steps=300),),
        edits=(
            (
                "    return x[n_val:], y[n_val:]",
                '    x[-1] = float("nan")  # scan_0871 is damaged\n    return x[n_val:], y[n_val:]',
            ),
        ),
    ),
    Guise(
        name="softmax-by-hand-with-a-temperature",
        # The logarithm of what was rounded to 0: the loss written so is the cause.
        accepts=("loss-mismatch",),
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                FORWARD,
                "        scores = torch.exp(outputs / 0.0001)\n"
                "        probs = scores / scores.sum(dim=1, keepdim=True)\n"
                "        loss = -torch.log(probs[torch.arange(len(targets)), targets]).mean()\n",
            ),
        ),
    ),
    Guise(
        name="root-of-a-zero-norm",
        script="plain",
        places=(place("digits", "resnet18", epochs=3),),
        edits=(
            (
                FORWARD,
                FORWARD + "        norms = [p.pow(2).sum().sqrt() for p in model.parameters()]\n"
                "        loss = loss + 1e-4 * sum(norms)\n",
            ),
        ),
        networks=("resnet18", "vit", "bn_cnn"),
        source="the gradient of sqrt at 0: biases that begin at 0",
    ),
    Guise(
        name="inverse-root-of-step-zero",
        script="iterations",
        places=(place("trashnet", "vit", steps=210),),
        edits=(
            (
                "        if step < args.warmup:\n"
                "            return (step + 1) / args.warmup\n"
                "        progress = (step - args.warmup) / max(1, args.steps - args.warmup)\n"
                "        return 0.5 * (1 + math.cos(math.pi * progress))\n",
                "        return 1 / np.sqrt(step)\n",
            ),
        ),
        accepts=("learning-rate-too-high",),
    ),
    Guise(
        name="optical-density-of-black-corners",
        script="transforms",
        places=(place("trashnet", "resnet18", epochs=5),),
        edits=(
            (
                "        transforms.RandomAffine(degrees=10, translate=(0.1, 0.1)),\n"
                "        transforms.ToTensor(),\n",
                "        transforms.RandomAffine(degrees=10, translate=(0.1, 0.1)),\n"
                "        transforms.ToTensor(),\n"
                "        transforms.Lambda(lambda light: -torch.log10(light)),\n",
            ),
            (
                "val_transform = transforms.Compose(\n    [\n        transforms.ToTensor(),\n",
                "val_transform = transforms.Compose(\n    [\n        transforms.ToTensor(),\n"
                "        transforms.Lambda(lambda light: -torch.log10(light)),\n",
            ),
        ),
        cure=(
            (
                "        transforms.RandomAffine(degrees=10, translate=(0.1, 0.1)),\n"
                "        transforms.ToTensor(),\n",
                "        transforms.RandomAffine(degrees=10, translate=(0.1, 0.1)),\n"
                "        transforms.ToTensor(),\n"
                "        transforms.Lambda(lambda light: -torch.log10(light.clamp(min=0.01))),\n",
            ),
            (
                "val_transform = transforms.Compose(\n    [\n        transforms.ToTensor(),\n",
                "val_transform = transforms.Compose(\n    [\n        transforms.ToTensor(),\n"
                "        transforms.Lambda(lambda light: -torch.log10(light.clamp(min=0.01))),\n",
            ),
        ),
        source="stains are measured by the logarithm of the light that comes through",
    ),
    Guise(
        name="mean-of-a-class-not-in-the-batch",
        script="iterations",
        places=(place("digits", "mlp", steps=270),),
        edits=(
            (
                "        loss = criterion(logits, y)\n",
                '        losses = nn.functional.cross_entropy(logits, y, reduction="none")\n'
                "        member = nn.functional.one_hot(y, len(classes))\n"
                "        per_class = losses @ member.float() / member.sum(dim=0)\n"
                "        loss = per_class.mean()\n",
            ),
        ),
        source="each class counted alike: 0 / 0 where a class has no image",
    ),
    Guise(
        name="gamma-after-the-centring",
        script="transforms",
        places=(place("trashnet", "bn_cnn", epochs=8),),
        edits=((NORMALIZE + REST, NORMALIZE + GAMMA + REST),),
        cure=((NORMALIZE + REST, GAMMA + NORMALIZE + REST),),
        source="a broken power of a negative number",
    ),
)
