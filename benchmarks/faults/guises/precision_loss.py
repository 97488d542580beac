from compose import Guise, place
from edits import BACKWARD, FORWARD, LEARN_BY_SGD, LOSS, SGD, SGD_SETS, STEP

VAL = "            outputs = model(inputs)\n            val_loss"

SCALER = ("\n\nfor epoch", '\nscaler = torch.amp.GradScaler("cpu")\n\nfor epoch')

SCALED = (BACKWARD, "        scaler.scale(loss).backward()\n")

CLIPPED = (
    "        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
    "        scaler.step(optimizer)\n"
    "        scaler.update()\n"
)

GUISES = (
    Guise(
        name="half-throughout",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (LOSS, "model = model.half()\n" + LOSS),
            (
                "        outputs = model(inputs)\n" + FORWARD,
                "        outputs = model(inputs.half())\n" + FORWARD,
            ),
            (VAL, VAL.replace("inputs", "inputs.half()")),
        ),
        accepts=("non-finite",),
        networks=("mlp", "tutorial_cnn"),
        source="keras-team/keras#11853",
    ),
    Guise(
        name="fixed-point-after-each-step",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                STEP,
                STEP + "        with torch.no_grad():\n"
                "            for parameter in model.parameters():\n"
                "                parameter.copy_(torch.round(parameter * 64) / 64)\n",
            ),
        ),
        accepts=("learning-rate-too-low",),
        source="weights kept in eight bits, smaller updates rounded away",
    ),
    Guise(
        name="true-sixteen-bits",
        script="lightning_fit",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                '        accelerator="cpu",\n',
                '        accelerator="cpu",\n        precision="16-true",\n',
            ),
        ),
        accepts=("non-finite",),
        networks=("mlp", "tutorial_cnn"),
        source="keras-team/keras#11853",
    ),
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
