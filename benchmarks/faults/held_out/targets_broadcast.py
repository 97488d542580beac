from compose import Guise, place

GUISES = (
    Guise(
        name="columns-of-all-targets-picked",
        script="functions",
        places=(place("trashnet", "vit", epochs=7),),
        edits=(
            (
                "        loss = F.nll_loss(output, target)\n",
                "        loss = -output[:, target].mean()\n",
            ),
        ),
    ),
    Guise(
        name="smooth-targets-written-to-every-row",
        script="lightning_fit",
        places=(place("digits", "resnet18", epochs=3),),
        edits=(
            (
                "        loss = F.cross_entropy(logits, y)\n"
                "        for target, prediction in zip(y.tolist(), logits.argmax(1).tolist()):\n"
                "            self.train",
                "        smooth = torch.full_like(logits, 0.1 / (self.num_classes - 1))\n"
                "        smooth[:, y] = 0.9\n"
                "        loss = -(smooth * F.log_softmax(logits, dim=1)).sum(dim=1).mean()\n"
                "        for target, prediction in zip(y.tolist(), logits.argmax(1).tolist()):\n"
                "            self.train",
            ),
        ),
    ),
)
