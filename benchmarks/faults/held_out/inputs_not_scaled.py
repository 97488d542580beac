from compose import Guise, place

TRAIN = "translate=(0.1, 0.1)),\n        transforms.ToTensor(),\n"
VAL = "    [\n        transforms.ToTensor(),\n"
RAW = "transforms.PILToTensor(),\n        transforms.Lambda(lambda image: image.float()),\n"

GUISES = (
    Guise(
        name="pil-to-tensor-as-float",
        script="transforms",
        places=(place("trashnet", "tutorial_cnn", lr=0.02, epochs=8),),
        around=(
            (
                "torch.optim.Adam(model.parameters(), lr=args.lr)",
                "torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(
            (TRAIN, TRAIN.replace("transforms.ToTensor(),\n", RAW)),
            (VAL, VAL.replace("transforms.ToTensor(),\n", RAW)),
        ),
        accepts=("learning-rate-too-high", "dead-units"),
        images=("digits", "trashnet"),
        networks=("tutorial_cnn", "mlp"),
    ),
    Guise(
        name="unsigned-bytes-to-float",
        script="lightning_fit",
        places=(place("digits", "mlp", lr=0.03, epochs=6),),
        around=(
            (
                "torch.optim.Adam(self.parameters(), lr=self.lr)",
                "torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)",
            ),
        ),
        edits=((".float().div(255).sub(0.5).div(0.5)", ".to(torch.float32)"),),
        accepts=("learning-rate-too-high", "dead-units"),
        images=("digits", "trashnet"),
        networks=("tutorial_cnn", "mlp"),
    ),
)
