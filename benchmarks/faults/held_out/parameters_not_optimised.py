from compose import Guise, place

GUISES = (
    Guise(
        name="head-made-anew-in-forward",
        script="hf_trainer",
        places=(place("digits", "vgg", epochs=7),),
        around=(
            (
                "        self.backbone = Net(in_channels, num_labels, side)\n",
                "        self.backbone = Net(in_channels, 64, side)\n"
                "        self.num_labels = num_labels\n",
            ),
        ),
        edits=(
            (
                "        logits = self.backbone(pixel_values)\n",
                "        features = self.backbone(pixel_values)\n"
                "        logits = nn.Linear(features.shape[1], self.num_labels)(features)\n",
            ),
        ),
        cure=(
            (
                "        self.num_labels = num_labels\n",
                "        self.num_labels = num_labels\n        self.head = nn.Linear(64, "
                "num_labels)\n",
            ),
            (
                "        logits = self.backbone(pixel_values)\n",
                "        features = self.backbone(pixel_values)\n        logits = "
                "self.head(features)\n",
            ),
        ),
    ),
    Guise(
        name="only-those-that-have-a-gradient",
        script="transforms",
        places=(place("trashnet", "vit", epochs=7),),
        edits=(
            (
                "    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)\n",
                "    used = [p for p in model.parameters() if p.grad is not None]\n"
                '    optimizer = torch.optim.Adam([{"params": used}], lr=args.lr)\n',
            ),
        ),
    ),
)
