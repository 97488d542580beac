from compose import Guise, place

GUISES = (
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
)
