from compose import Guise, place
from edits import BACKWARD, STEP

GUISES = (
    Guise(
        name="scaler-updated-never-stepped",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        edits=(
            (
                "lr=args.lr)\n\nfor epoch",
                'lr=args.lr)\nscaler = torch.amp.GradScaler("cpu")\n\nfor epoch',
            ),
            (BACKWARD, "        scaler.scale(loss).backward()\n"),
            (
                STEP,
                "        scaler.unscale_(optimizer)\n"
                "        nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
                "        scaler.update()\n",
            ),
        ),
    ),
    Guise(
        name="closure-called-step-forgotten",
        script="lightning_fit",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "    def configure_optimizers(self):\n",
                "    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):\n"
                "        rate = self.lr * min(1.0, (self.trainer.global_step + 1) / 20)\n"
                "        for group in optimizer.param_groups:\n"
                '            group["lr"] = rate\n'
                "        optimizer_closure()\n\n"
                "    def configure_optimizers(self):\n",
            ),
        ),
    ),
)
