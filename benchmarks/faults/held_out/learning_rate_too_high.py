from compose import Guise, place
from edits import LOSS, SGD, SGD_SETS

GUISES = (
    Guise(
        name="losses-summed-at-the-rate-for-a-mean",
        script="plain",
        places=(place("digits", "mlp", lr=0.05, epochs=6),),
        around=(SGD,),
        edits=((LOSS, 'criterion = nn.CrossEntropyLoss(reduction="sum")'),),
        images=SGD_SETS,
        networks=("tutorial_cnn", "mlp"),
    ),
)
