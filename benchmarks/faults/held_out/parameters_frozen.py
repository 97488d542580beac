from compose import Guise, place

ADAPTER = """\
class LoRA(torch.nn.Module):
    def __init__(self, weight, rank=8):
        super().__init__()
        self.lora_A = torch.nn.Parameter(torch.randn(rank, weight.shape[1]) / rank)
        self.lora_B = torch.nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, weight):
        return weight + self.lora_B @ self.lora_A


def main():
"""

GUISES = (
    Guise(
        name="one-half-of-each-adapter",
        script="functions",
        places=(place("digits", "mlp", lr=0.003, gamma=0.97, epochs=6),),
        around=(
            (
                "import torch.optim as optim\n",
                "import torch.nn.utils.parametrize as parametrize\nimport torch.optim as optim\n",
            ),
            ("def main():\n", ADAPTER),
            (
                "    optimizer = optim.Adam(",
                "    for module in list(model.modules()):\n"
                "        if isinstance(module, torch.nn.Linear):\n"
                "            adapter = LoRA(module.weight)\n"
                '            parametrize.register_parametrization(module, "weight", adapter)\n'
                "    for name, parameter in model.named_parameters():\n"
                '        parameter.requires_grad = "lora_" in name\n'
                "    optimizer = optim.Adam(",
            ),
        ),
        edits=(('= "lora_" in name', '= "lora_A" in name'),),
        accepts=("poor-initialisation",),
        networks=("mlp", "tutorial_cnn", "vgg"),
        source="of a product that begins at zero, only the factor that then gets no gradient",
    ),
)
