from compose import Guise, place

QUANTISED = """\
class QuantLinear(torch.nn.Linear):
    \"\"\"Weights in eight bits, as they will be on the device.\"\"\"

    def forward(self, x):
        step = {step}
        weight = torch.fake_quantize_per_tensor_affine(self.weight, step, 0, -128, 127)
        return F.linear(x, weight, self.bias)


class LitClassifier("""

GUISES = (
    Guise(
        name="quantised-in-steps-of-one",
        script="lightning_fit",
        places=(place("digits", "mlp", epochs=6),),
        around=(
            ("nn.Linear(features, width), nn.ReLU()]", "QuantLinear(features, width), nn.ReLU()]"),
            ("nn.Linear(features, num_classes)", "QuantLinear(features, num_classes)"),
        ),
        edits=(("class LitClassifier(", QUANTISED.format(step="1.0  # until it is calibrated")),),
        cure=(
            (
                "class LitClassifier(",
                QUANTISED.format(step="self.weight.abs().max().item() / 127"),
            ),
        ),
        networks=("mlp",),
        source="quantisation-aware training with a scale that no observer has set",
    ),
)
