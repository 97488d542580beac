from compose import Guise, place

GUISES = (
    Guise(
        name="layers-survive-as-often-as-they-should-drop",
        script="iterations",
        places=(place("digits", "vit", steps=315),),
        around=(
            (
                "from torch.optim.lr_scheduler import LambdaLR\n",
                "from torch.optim.lr_scheduler import LambdaLR\n"
                "from torchvision.ops import StochasticDepth\n",
            ),
            (
                "        self.norm = nn.LayerNorm(dim)\n",
                '        self.drop_path = StochasticDepth(0.05, mode="row")\n'
                "        self.norm = nn.LayerNorm(dim)\n",
            ),
            (
                "        return self.head(self.norm(self.encoder(tokens)[:, 0]))",
                "        for layer in self.encoder.layers:\n"
                "            tokens = tokens + self.drop_path(layer(tokens) - tokens)\n"
                "        return self.head(self.norm(tokens[:, 0]))",
            ),
        ),
        edits=(("StochasticDepth(0.05, ", "StochasticDepth(0.95, "),),
        networks=("vit",),
        source="stochastic depth is told by the probability to survive, or to be dropped",
    ),
)
