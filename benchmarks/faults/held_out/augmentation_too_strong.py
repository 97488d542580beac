from compose import Guise, place

GUISES = (
    Guise(
        name="elastic-alpha-for-large-photos",
        script="transforms",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "        transforms.RandomAffine(degrees=10, translate=(0.1, 0.1)),\n",
                "        transforms.RandomAffine(degrees=10, translate=(0.1, 0.1)),\n"
                "        transforms.ElasticTransform(alpha=2500.0, sigma=2.0),\n",
            ),
        ),
        networks=("tutorial_cnn", "vgg", "mlp"),
    ),
    Guise(
        name="patches-masked-as-for-pretraining",
        script="iterations",
        places=(place("digits", "vit", steps=315),),
        edits=(
            (
                "        logits = model(x)\n        loss = criterion(logits, y)\n",
                "        side = x.shape[-1] // 4\n"
                "        kept = (torch.rand(len(x), 1, side, side) > 0.98).float()\n"
                "        x = x * nn.functional.interpolate(kept, scale_factor=4)\n"
                "        logits = model(x)\n        loss = criterion(logits, y)\n",
            ),
        ),
    ),
)
