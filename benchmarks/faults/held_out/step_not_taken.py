from compose import Guise, place

STREAM = "    stream = batches(x_train, y_train, args.batch_size)\n"
STEP = "        optimizer.step()\n"
LOOKAHEAD = (
    STEP + "        if step % 5 == 0:  # lookahead\n"
    "            with torch.no_grad():\n"
    "                for kept, parameter in zip(slow, model.parameters()):\n"
)
TO_SLOW = "                    kept.lerp_(parameter, 0.5)\n"
BACK = "                    parameter.copy_(kept)\n"

GUISES = (
    Guise(
        name="lookahead-goes-back-before-it-looks",
        script="iterations",
        places=(place("digits", "mlp", steps=270),),
        around=(
            (
                STREAM,
                STREAM + "    slow = [parameter.detach().clone() for parameter in "
                "model.parameters()]\n",
            ),
        ),
        edits=((STEP, LOOKAHEAD + BACK + TO_SLOW),),
        cure=((STEP, LOOKAHEAD + TO_SLOW + BACK),),
        source="the slow weights are to follow before the fast ones are set back to them",
    ),
)
