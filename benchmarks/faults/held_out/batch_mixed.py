from compose import Guise, place

GUISES = (
    Guise(
        name="mirrored-views-averaged-in-pairs",
        script="lightning_fit",
        places=(place("trashnet", "resnet18", epochs=5),),
        edits=(
            (
                "        return self.model(x)\n",
                "        views = torch.cat([x, x.flip(3)])\n"
                "        return self.model(views).view(len(x), 2, -1).mean(dim=1)\n",
            ),
        ),
        cure=(
            (
                "        return self.model(x)\n",
                "        views = torch.cat([x, x.flip(3)])\n"
                "        return self.model(views).view(2, len(x), -1).mean(dim=0)\n",
            ),
        ),
    ),
    Guise(
        name="sorted-by-brightness-and-not-put-back",
        script="hf_trainer",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "        logits = self.backbone(pixel_values)\n",
                "        order = pixel_values.mean(dim=(1, 2, 3)).argsort(descending=True)\n"
                "        logits = self.backbone(pixel_values[order])\n",
            ),
        ),
    ),
)
