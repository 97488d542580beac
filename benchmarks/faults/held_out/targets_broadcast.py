from compose import Guise, place

LOSS = "            loss = nn.functional.cross_entropy(logits, labels)\n"
VOTES = (
    "            votes = nn.functional.one_hot(labels.view(len(labels), -1), logits.shape[1])\n"
    "            truth = votes.float().mean(dim=0)\n"
    "            log_probs = logits.log_softmax(dim=1)\n"
    '            loss = nn.functional.kl_div(log_probs, truth, reduction="batchmean")\n'
)

GUISES = (
    Guise(
        name="votes-averaged-over-the-images",
        script="hf_trainer",
        places=(place("digits", "vgg", epochs=7),),
        edits=((LOSS, VOTES),),
        cure=((LOSS, VOTES.replace("dim=0", "dim=1")),),
        source="votes of one rater (images, raters, classes): a single row of targets is left",
    ),
)
