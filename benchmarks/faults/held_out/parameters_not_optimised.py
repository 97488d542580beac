from compose import Guise, place

GUISES = (
    Guise(
        name="copied-after-the-optimizer",
        script="plain",
        places=(place("digits", "vit", epochs=7),),
        edits=(
            (
                "lr=args.lr)\n\nfor epoch",
                "lr=args.lr)\nuntrained, model = model, copy.deepcopy(model)\n\nfor epoch",
            ),
            ("import argparse\n", "import argparse\nimport copy\n"),
        ),
    ),
    Guise(
        name="parameters-of-the-first-layer",
        script="iterations",
        places=(place("trashnet", "mlp", steps=250),),
        edits=(
            (
                "torch.optim.AdamW(model.parameters(), lr",
                "torch.optim.AdamW(list(model.parameters())[-1:], lr",
            ),
        ),
    ),
)
