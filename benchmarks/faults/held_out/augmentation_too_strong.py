from compose import Guise, place

GUISES = (
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
