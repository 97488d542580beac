from compose import Guise, place
from edits import LOSS

DROP_CONNECT = """\
class DropConnect(nn.Module):
    def forward(self, weight):
        return nn.functional.dropout(weight, 0.02, self.training)


for module in list(model.modules()):
    if isinstance(module, nn.Linear):
        nn.utils.parametrize.register_parametrization(module, "weight", DropConnect())

"""

GUISES = (
    Guise(
        name="connections-kept-given-as-dropped",
        script="plain",
        places=(place("trashnet", "mlp", epochs=7),),
        around=(
            (
                "import torch.optim as optim\n",
                "import torch.nn.utils.parametrize\nimport torch.optim as optim\n",
            ),
            (LOSS, DROP_CONNECT + LOSS),
        ),
        edits=(("dropout(weight, 0.02, ", "dropout(weight, 0.98, "),),
        networks=("mlp", "vgg", "tutorial_cnn"),
    ),
)
