from compose import Guise, place

GUISES = (
    Guise(
        name="epsilon-of-one-in-adam",
        script="transforms",
        places=(place("digits", "tutorial_cnn", epochs=7),),
        edits=(
            (
                "torch.optim.Adam(model.parameters(), lr=args.lr)",
                "torch.optim.Adam(model.parameters(), lr=args.lr, eps=1.0)",
            ),
        ),
        source="TensorFlow's advice for Inception on ImageNet: an epsilon of 1.0 or 0.1",
        networks=("tutorial_cnn", "vgg", "mlp"),
    ),
)
