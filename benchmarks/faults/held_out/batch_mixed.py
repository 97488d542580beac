from compose import Guise, place

GUISES = (
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
