from compose import Guise, place
from edits import LEARN_BY_SGD, OPTIMIZER, SGD, SGD_SETS

GUISES = (
    Guise(
        name="1e1-for-1e-1",
        script="plain",
        places=(place("digits", "mlp", lr=0.02, epochs=6),),
        edits=((OPTIMIZER, "optim.SGD(model.parameters(), lr=1e1, momentum=0.9)"),),
        cure=(SGD,),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
)
