from compose import Guise, place

GUISES = (
    Guise(
        name="weights-learned-with-the-network",
        script="iterations",
        places=(place("digits", "vit", steps=315),),
        edits=(
            (
                "    optimizer = torch.optim.AdamW("
                "model.parameters(), lr=args.lr, weight_decay=args.weight_decay)\n",
                "    class_weights = nn.Parameter(torch.ones(len(classes)))\n"
                "    groups = [\n"
                '        {"params": model.parameters(), "weight_decay": args.weight_decay},\n'
                '        {"params": [class_weights], "lr": 0.05, "weight_decay": 0.0},\n'
                "    ]\n"
                "    optimizer = torch.optim.AdamW(groups, lr=args.lr)\n",
            ),
            (
                "        loss = criterion(logits, y)\n",
                '        losses = nn.functional.cross_entropy(logits, y, reduction="none")\n'
                "        loss = (class_weights[y] * losses).mean()\n",
            ),
        ),
        begins=30,
        source="weights by uncertainty, without the term that keeps them from vanishing",
    ),
)
