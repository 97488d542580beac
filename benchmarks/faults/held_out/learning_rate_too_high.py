from compose import Guise, place
from edits import WITHOUT_NORM

GUISES = (
    Guise(
        name="rate-of-adadelta-given-to-adam",
        script="functions",
        places=(place("trashnet", "tutorial_cnn", lr=1.0, epochs=8),),
        cure=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.Adadelta(model.parameters(), lr=args.lr)",
            ),
        ),
        networks=WITHOUT_NORM,
        source="the MNIST example's default of 1.0 belongs to Adadelta",
    ),
    Guise(
        name="range-test-left-running",
        script="lightning_fit",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "    def configure_optimizers(self):\n",
                "    def on_train_batch_start(self, batch, batch_idx):\n"
                "        done = self.global_step / self.trainer.estimated_stepping_batches\n"
                "        for group in self.optimizers().param_groups:\n"
                '            group["lr"] = 1e-5 * (10 / 1e-5) ** done\n\n'
                "    def configure_optimizers(self):\n",
            ),
        ),
        begins=170,
        networks=WITHOUT_NORM,
        source="a rate range test from 1e-5 to 10, not taken out before training",
    ),
)
