from compose import Guise, place

GUISES = (
    Guise(
        name="reentrant-checkpoint-of-the-images",
        script="lightning_fit",
        places=(place("demo_32", "bn_cnn", epochs=8),),
        around=(
            (
                "from torch.utils.data import DataLoader, TensorDataset\n",
                "from torch.utils.checkpoint import checkpoint\n"
                "from torch.utils.data import DataLoader, TensorDataset\n",
            ),
            (
                "        self.lr = lr\n",
                "        self.lr = lr\n"
                "        self.log_scale = torch.nn.Parameter(torch.zeros(1))\n",
            ),
            (
                "        return self.model(x)\n",
                "        logits = checkpoint(self.model, x, use_reentrant=False)\n"
                "        return self.log_scale.exp() * logits\n",
            ),
        ),
        edits=(("use_reentrant=False", "use_reentrant=True"),),
        source="a reentrant checkpoint passes no gradient on when no input requires one",
    ),
)
