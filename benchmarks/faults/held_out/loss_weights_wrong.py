from compose import Guise, place

LOSS = "        loss = F.nll_loss(output, target)\n"
SELECTED = (
    '        losses = F.nll_loss(output, target, reduction="none")\n'
    "        # a tenth is taken to be labelled wrongly: the small losses alone count\n"
    "        n = max(1, int({share} * len(losses)))\n"
    "        loss = losses.sort().values[:n].mean()\n"
)

GUISES = (
    Guise(
        name="keeps-the-share-it-should-forget",
        script="functions",
        places=(place("digits", "tutorial_cnn", gamma=0.97, epochs=6),),
        edits=((LOSS, SELECTED.format(share="0.1")),),
        cure=((LOSS, SELECTED.format(share="(1 - 0.1)")),),
        source="co-teaching keeps 1 - forget_rate of a batch",
    ),
)
