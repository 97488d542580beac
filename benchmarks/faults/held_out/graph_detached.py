from compose import Guise, place

BOUNDED = """\
class Bounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, bound):
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp(-bound, bound)

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return grad_output * (x.abs() {inside} ctx.bound), None


class Trainer:
"""

GUISES = (
    Guise(
        name="backward-by-hand-masks-the-wrong-side",
        script="transforms",
        places=(place("digits", "vgg", epochs=7),),
        around=(
            (
                "                logits = self.model(images)\n",
                "                logits = Bounded.apply(self.model(images), 30.0)\n",
            ),
        ),
        edits=(("class Trainer:\n", BOUNDED.format(inside=">")),),
        cure=(("class Trainer:\n", BOUNDED.format(inside="<=")),),
        accepts=("output-activation-wrong",),
        source="an autograd.Function of one's own: the gradient passes where it was cut",
    ),
)
