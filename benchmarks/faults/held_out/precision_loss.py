from compose import Guise, place
from edits import BACKWARD, LEARN_BY_SGD, SGD, SGD_SETS, STEP

SCALER = ("\n\nfor epoch", '\nscaler = torch.amp.GradScaler("cpu")\n\nfor epoch')
SCALED = (BACKWARD, "        scaler.scale(loss).backward()\n")
CLIPPED = (
    "        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
    "        scaler.step(optimizer)\n"
    "        scaler.update()\n"
)

GUISES = (
    Guise(
        name="clipped-before-unscaling",
        script="plain",
        places=(place("digits", "tutorial_cnn", lr=0.02, epochs=7),),
        around=(SGD, SCALER, SCALED),
        edits=((STEP, CLIPPED),),
        cure=((STEP, "        scaler.unscale_(optimizer)\n" + CLIPPED),),
        accepts=("learning-rate-too-low",),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
        source="gradients 65,536 times too large are clipped to 1, then divided by 65,536",
    ),
)
