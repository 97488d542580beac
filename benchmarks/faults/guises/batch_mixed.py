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
)
