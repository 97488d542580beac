from compose import Guise, place

GUISES = (
    Guise(
        name="gradients-in-steps-of-a-tenth",
        script="functions",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        edits=(
            (
                "        optimizer.step()\n",
                "        for parameter in model.parameters():\n"
                "            packed = torch.quantize_per_tensor(\n"
                "                parameter.grad, scale=0.1, zero_point=0, dtype=torch.qint8\n"
                "            )\n"
                "            parameter.grad = packed.dequantize()\n"
                "        optimizer.step()\n",
            ),
        ),
        accepts=("learning-rate-too-low",),
        source="gradients compressed to eight bits by a fixed scale",
    ),
    Guise(
        name="second-moments-kept-in-half",
        script="iterations",
        places=(place("digits", "vgg", lr=0.002, steps=315),),
        edits=(
            (
                "        optimizer.step()\n",
                "        optimizer.step()\n"
                "        for state in optimizer.state.values():\n"
                '            state["exp_avg_sq"] = state["exp_avg_sq"].half().float()\n',
            ),
        ),
        accepts=("learning-rate-too-high",),
        source="squares of gradients below 2e-4 are zero in half precision",
    ),
)
