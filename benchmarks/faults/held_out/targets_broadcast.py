from compose import Guise, place

LOSS = "            loss = nn.functional.cross_entropy(logits, labels)\n"
ALIKE = (
    "            words = self.words[labels]\n"
    "            alike = nn.functional.cosine_similarity({features}, words, dim=-1)\n"
    "            loss = (1 - alike).mean()\n"
)

GUISES = (
    Guise(
        name="every-image-against-every-word",
        script="hf_trainer",
        places=(place("digits", "mlp", epochs=6),),
        around=(
            (
                "        self.backbone = Net(in_channels, num_labels, side)\n",
                "        self.backbone = Net(in_channels, 48, side)\n"
                "        words = torch.randn(num_labels, 48)  # vectors of the names\n"
                '        self.register_buffer("words", nn.functional.normalize(words, dim=1))\n',
            ),
            (
                "        logits = self.backbone(pixel_values)\n",
                "        features = nn.functional.normalize(self.backbone(pixel_values), dim=1)\n"
                "        logits = features @ self.words.T\n",
            ),
        ),
        edits=((LOSS, ALIKE.format(features="features.unsqueeze(1)")),),
        cure=((LOSS, ALIKE.format(features="features")),),
        source="(images, 1, width) against (images, width) is every pair",
    ),
)
