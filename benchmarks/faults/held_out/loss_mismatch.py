from compose import Guise, place

GUISES = (
    Guise(
        name="levels-of-grades-read-by-argmax",
        script="hf_trainer",
        places=(place("demo_32", "bn_cnn", epochs=10),),
        edits=(
            (
                "            loss = nn.functional.cross_entropy(logits, labels)\n",
                "            levels = labels.unsqueeze(1) >= torch.arange(logits.shape[1])\n"
                "            loss = nn.functional.binary_cross_entropy_with_logits(\n"
                "                logits, levels.float()\n"
                "            )\n",
            ),
        ),
        source="cumulative targets of ordered grades: read by counting levels, not by argmax",
    ),
)
