from compose import Guise, place
from edits import LEARN_BY_SGD, SGD, SGD_SETS

GUISES = (
    Guise(
        name="zero-grad-of-the-loss-module",
        script="plain",
        places=(place("trashnet", "mlp", lr=0.05, epochs=7),),
        around=(SGD,),
        edits=(("        optimizer.zero_grad()\n", "        criterion.zero_grad()\n"),),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
    Guise(
        name="zero-grad-hook-overridden",
        script="lightning_fit",
        places=(place("digits", "tutorial_cnn", lr=0.05, epochs=6),),
        around=(
            (
                "torch.optim.Adam(self.parameters(), lr=self.lr)",
                "torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)",
            ),
        ),
        edits=(
            (
                "    def configure_optimizers(self):\n",
                "    def optimizer_zero_grad(self, epoch, batch_idx, optimizer):\n"
                "        pass  # the trainer does it\n\n"
                "    def configure_optimizers(self):\n",
            ),
        ),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
)
