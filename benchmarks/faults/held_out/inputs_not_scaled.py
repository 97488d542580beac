from compose import Guise, place

TENSOR = "    x = torch.tensor(x).permute(0, 3, 1, 2).contiguous()\n"

GUISES = (
    Guise(
        name="exposure-in-microseconds-as-a-plane",
        script="iterations",
        places=(place("digits", "tutorial_cnn", lr=0.03, steps=270),),
        around=(
            (
                TENSOR,
                TENSOR + "    exposure = np.random.uniform(500, 4000, len(x))  # of the headers\n"
                "    exposure = torch.tensor(exposure / 4000, dtype=torch.float)\n"
                "    plane = exposure.view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])\n"
                "    x = torch.cat([x, plane], dim=1)\n",
            ),
            (
                "torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)",
                "torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(("torch.tensor(exposure / 4000, ", "torch.tensor(exposure, "),),
        accepts=("learning-rate-too-high", "dead-units"),
        images=("digits", "trashnet"),
        networks=("tutorial_cnn", "mlp"),
        source="a figure from the camera beside pixels that are standardised",
    ),
)
