from compose import Guise, place

ROUTED = (
    "        half = pixel_values.shape[-1] // 2\n"
    "        light = pixel_values.mean(dim=(1, 2))\n"
    "        lit = light[:, :half].mean(dim=1) > light[:, half:].mean(dim=1)\n"
    "        logits = torch.cat([self.left(pixel_values[lit]), self.right(pixel_values[~lit])])\n"
)

GUISES = (
    Guise(
        name="answers-of-two-experts-one-after-the-other",
        script="hf_trainer",
        places=(place("digits", "mlp", epochs=6),),
        around=(
            (
                "        self.backbone = Net(in_channels, num_labels, side)\n",
                "        # one expert for light from the left, one for light from the right\n"
                "        self.left = Net(in_channels, num_labels, side)\n"
                "        self.right = Net(in_channels, num_labels, side)\n",
            ),
        ),
        edits=(("        logits = self.backbone(pixel_values)\n", ROUTED),),
        cure=(
            (
                "        logits = self.backbone(pixel_values)\n",
                ROUTED
                + "        order = torch.cat([lit.nonzero()[:, 0], (~lit).nonzero()[:, 0]])\n"
                "        logits = logits[order.argsort()]\n",
            ),
        ),
        networks=("tutorial_cnn", "vgg", "mlp", "vit"),
        source="a mixture of experts whose answers are not scattered back to their images",
    ),
)
