from compose import Guise, place
from edits import FORWARD

GUISES = (
    Guise(
        name="crops-of-nothing",
        script="transforms",
        places=(place("trashnet", "tutorial_cnn", epochs=8), place("digits", "vgg", epochs=6)),
        edits=(
            (
                "        transforms.RandomAffine(degrees=10, translate=(0.1, 0.1)),\n",
                "        transforms.RandomAffine(degrees=180, translate=(0.9, 0.9), "
                "scale=(0.1, 3.0)),\n",
            ),
        ),
    ),
    Guise(
        name="erased-almost-whole",
        script="transforms",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "        transforms.RandomAffine(degrees=10, translate=(0.1, 0.1)),\n"
                "        transforms.ToTensor(),\n",
                "        transforms.ToTensor(),\n"
                "        transforms.RandomErasing(\n"
                '            p=1.0, scale=(0.85, 0.87), ratio=(1.0, 1.0), value="random"\n'
                "        ),\n",
            ),
        ),
    ),
    Guise(
        name="noise-in-units-of-255",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                "        outputs = model(inputs)\n" + FORWARD,
                "        inputs = inputs + 25 * torch.randn_like(inputs)\n"
                "        outputs = model(inputs)\n" + FORWARD,
            ),
        ),
    ),
    Guise(
        name="mixup-with-labels-of-the-lesser",
        script="plain",
        places=(place("trashnet", "mlp", epochs=7),),
        edits=(
            (
                "        outputs = model(inputs)\n" + FORWARD,
                "        lam = np.random.uniform(0.9, 1.0)\n"
                "        other = torch.randperm(len(inputs))\n"
                "        outputs = model((1 - lam) * inputs + lam * inputs[other])\n" + FORWARD,
            ),
        ),
        accepts=("labels-unrelated",),
    ),
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
    Guise(
        name="crop-areas-of-whole-slides",
        script="lightning_fit",
        places=(place("digits", "mlp", epochs=6),),
        around=(
            (
                "from torch.utils.data import DataLoader, TensorDataset\n",
                "from torch.utils.data import DataLoader, TensorDataset\n"
                "from torchvision.transforms import v2\n",
            ),
            (
                "        self.lr = lr\n",
                "        self.lr = lr\n"
                "        self.crop = v2.RandomResizedCrop(side, scale=(0.6, 1.0))\n",
            ),
            (
                "    def training_step(self, batch, batch_idx):\n",
                "    def on_after_batch_transfer(self, batch, dataloader_idx):\n"
                "        x, y = batch\n"
                "        return (self.crop(x) if self.trainer.training else x), y\n\n"
                "    def training_step(self, batch, batch_idx):\n",
            ),
        ),
        edits=(("scale=(0.6, 1.0)", "scale=(0.002, 0.01)"),),
        accepts=("inputs-constant",),
        images=("digits",),
        networks=("tutorial_cnn", "vgg", "mlp", "vit"),
        source="the share of a slide of 4,000 pixels that a network sees, kept for small images",
    ),
)
