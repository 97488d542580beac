from compose import Guise, place

GUISES = (
    Guise(
        name="labels-reduced-as-for-segmentation",
        script="hf_trainer",
        places=(place("trashnet", "vit", epochs=7),),
        edits=(
            (
                "            loss = nn.functional.cross_entropy(logits, labels)\n",
                "            loss = nn.functional.cross_entropy(logits, labels - 1, "
                "ignore_index=-1)\n",
            ),
        ),
        images=("digits", "trashnet"),
        source="reduce_labels of segmentation, where 0 is the background",
    ),
)
