from compose import Guise, place

GUISES = (
    Guise(
        name="scores-below-a-half-cut",
        script="hf_trainer",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        edits=(
            (
                "        logits = self.backbone(pixel_values)\n",
                "        logits = nn.functional.threshold(self.backbone(pixel_values), 0.5, 0.0)\n",
            ),
        ),
    ),
    Guise(
        name="relu-shares-for-probabilities",
        script="functions",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "        output = F.log_softmax(model(data), dim=1)\n        loss",
                "        scores = F.relu(model(data))\n"
                "        output = torch.log(scores / (scores.sum(1, keepdim=True) + 1e-6) + 1e-6)\n"
                "        loss",
            ),
            (
                "            output = F.log_softmax(model(data), dim=1)\n            test_loss",
                "            scores = F.relu(model(data))\n"
                "            output = torch.log(\n"
                "                scores / (scores.sum(1, keepdim=True) + 1e-6) + 1e-6\n"
                "            )\n"
                "            test_loss",
            ),
        ),
        accepts=("loss-mismatch",),
    ),
)
