from compose import Guise, place

STEP = "                    self.optimizer.step()\n"
SHRUNK = (
    STEP + "                    with torch.no_grad():  # sparse weights\n"
    "                        for p in self.model.parameters():\n"
    "                            p.copy_(nn.functional.softshrink(p, {step}))\n"
)

GUISES = (
    Guise(
        name="soft-threshold-not-times-the-rate",
        script="transforms",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=((STEP, SHRUNK.format(step="0.01")),),
        cure=((STEP, SHRUNK.format(step="0.01 * self.optimizer.param_groups[0]['lr']")),),
        images=("digits", "trashnet"),
        networks=("tutorial_cnn", "vgg", "mlp"),
        source="the proximal step of an L1 penalty is the penalty times the rate",
    ),
)
