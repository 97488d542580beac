from compose import Guise, place

GUISES = (
    Guise(
        name="generator-used-up-by-counting",
        script="plain",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "optimizer = optim.Adam(model.parameters(), lr=args.lr)\n",
                "parameters = model.parameters()\n"
                'print(f"{sum(p.numel() for p in parameters)} parameters")\n'
                'optimizer = optim.Adam([{"params": parameters}], lr=args.lr)\n',
            ),
        ),
    ),
    Guise(
        name="state-assigned-after-the-optimizer",
        script="functions",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        edits=(
            (
                "    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)\n",
                "    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)\n"
                "    start = {name: value.clone() for name, value in model.state_dict().items()}\n"
                "    model.load_state_dict(start, assign=True)\n",
            ),
        ),
    ),
    Guise(
        name="networks-in-a-plain-list",
        script="lightning_fit",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "        self.model = Net(in_channels, num_classes, side)\n",
                "        self.members = [Net(in_channels, num_classes, side)]\n"
                "        self.shares = torch.nn.Parameter(torch.ones(1))\n",
            ),
            (
                "        return self.model(x)\n",
                "        return sum(s * net(x) for s, net in zip(self.shares, self.members))\n",
            ),
        ),
        source="an ensemble without ModuleList",
    ),
)
