from compose import Guise, place

GUISES = (
    Guise(
        name="sparsity-penalty-on-summed-activations",
        script="lightning_fit",
        places=(place("digits", "vgg", epochs=7),),
        around=(
            (
                "        self.lr = lr\n",
                "        self.lr = lr\n"
                "        self.activity = []\n"
                "        for module in self.modules():\n"
                "            if isinstance(module, torch.nn.ReLU):\n"
                "                module.register_forward_hook(self.keep)\n",
            ),
            (
                "    def forward(self, x):\n        return self.model(x)\n",
                "    def keep(self, module, args, output):\n"
                "        self.activity.append(output.abs().mean())\n\n"
                "    def forward(self, x):\n"
                "        self.activity.clear()\n"
                "        return self.model(x)\n",
            ),
            ("        return loss\n", "        return loss + 0.01 * sum(self.activity)\n"),
        ),
        edits=(("output.abs().mean()", "output.abs().sum()"),),
        networks=("vgg", "mlp"),
        source="an activity regulariser, its share chosen for a mean",
    ),
)
