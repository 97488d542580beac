from compose import Guise, place

END = '    print(\n        f"epoch {epoch + 1}: loss'
PRUNED = (
    "    for module in model.modules():\n"
    "        if isinstance(module, (nn.Conv2d, nn.Linear)):\n"
    '            prune.l1_unstructured(module, "weight", amount={amount})\n\n'
)

GUISES = (
    Guise(
        name="nine-tenths-pruned-after-each-epoch",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        around=(
            (
                "import torch.optim as optim\n",
                "import torch.nn.utils.prune as prune\nimport torch.optim as optim\n",
            ),
        ),
        edits=((END, PRUNED.format(amount=0.9) + END),),
        cure=((END, PRUNED.format(amount=0.1) + END),),
        begins=45,
        networks=("tutorial_cnn", "vgg", "mlp"),
        source="amount is a share of what is left, not of the whole",
    ),
)
