from compose import Guise, place

GUISES = (
    Guise(
        name="view-used-as-transpose",
        script="functions",
        places=(
            place("digits", "tutorial_cnn", epochs=6),
            place("trashnet", "tutorial_cnn", epochs=7),
        ),
        edits=(
            (
                "        x = torch.flatten(x, 1)\n",
                "        x = x.transpose(0, 1).reshape(x.shape[0], -1)\n",
            ),
        ),
        source="zhouhaoyi/Informer2020#59",
    ),
    Guise(
        name="channels-first-by-view",
        script="iterations",
        places=(place("digits", "mlp", steps=400),),
        edits=(
            (
                "        return self.layers(x)\n",
                "        x = x.permute(1, 2, 3, 0).reshape(x.shape)\n"
                "        return self.layers(x)\n",
            ),
        ),
    ),
    Guise(
        name="attention-along-the-batch",
        script="plain",
        places=(place("digits", "vit", epochs=7),),
        edits=(("batch_first=True, norm_first=True", "norm_first=True"),),
        source="nn.TransformerEncoderLayer takes (sequence, batch, width) unless told otherwise",
    ),
    Guise(
        name="pooled-features-turned",
        script="functions",
        places=(place("digits", "resnet18", epochs=3),),
        edits=(
            (
                "        x = self.layers(x).mean(dim=(2, 3))\n",
                "        x = self.layers(x).flatten(2).mean(dim=2).t().reshape(len(x), -1)\n",
            ),
        ),
        networks=("resnet18",),
    ),
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
    Guise(
        name="windows-shifted-along-the-batch",
        script="transforms",
        places=(place("digits", "vit", epochs=7),),
        around=(
            (
                "        tokens = self.embed(x).flatten(2).transpose(1, 2)\n",
                "        x = self.embed(x).permute(0, 2, 3, 1)\n"
                "        tokens = torch.roll(x, shifts=(-1, -1), dims=(1, 2)).flatten(1, 2)\n",
            ),
        ),
        edits=(("dims=(1, 2)", "dims=(0, 1)"),),
        networks=("vit",),
        source="a shifted window written for one image, height x width x channels",
    ),
)
