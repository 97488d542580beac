from compose import Guise, place
from edits import LEARN_BY_SGD, SGD_SETS

LOSS = (
    "        output = F.log_softmax(model(data), dim=1)\n"
    "        loss = F.nll_loss(output, target)\n"
)
OF_PROBABILITIES = (
    "        output = F.softmax(model(data), dim=1)\n"
    "        loss = -Categorical({what}=output).log_prob(target).mean()\n"
)

GUISES = (
    Guise(
        name="policy-of-probabilities-called-logits",
        script="functions",
        places=(place("digits", "tutorial_cnn", lr=0.01, gamma=0.97, epochs=7),),
        around=(
            (
                "from torch.optim.lr_scheduler import StepLR\n",
                "from torch.distributions import Categorical\n"
                "from torch.optim.lr_scheduler import StepLR\n",
            ),
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=((LOSS, OF_PROBABILITIES.format(what="logits")),),
        cure=((LOSS, OF_PROBABILITIES.format(what="probs")),),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
        source="Categorical takes probs or logits",
    ),
)
