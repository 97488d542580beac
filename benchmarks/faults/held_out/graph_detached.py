from compose import Guise, place
from edits import FORWARD

GUISES = (
    Guise(
        name="penalty-keeps-a-graph",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        edits=(
            (
                FORWARD,
                "        loss = criterion(outputs.detach(), targets)\n"
                "        loss = loss + 1e-4 * sum(p.pow(2).sum() for p in model.parameters())\n",
            ),
        ),
    ),
    Guise(
        name="backbone-under-no-grad",
        script="hf_trainer",
        places=(place("digits", "vgg", epochs=7),),
        edits=(
            (
                "        self.backbone = Net(in_channels, num_labels, side)\n",
                "        self.backbone = Net(in_channels, num_labels, side)\n"
                "        self.logit_scale = nn.Parameter(torch.ones(1))\n",
            ),
            (
                "        logits = self.backbone(pixel_values)\n",
                "        with torch.no_grad():\n"
                "            logits = self.backbone(pixel_values)\n"
                "        logits = self.logit_scale.exp() * logits\n",
            ),
        ),
    ),
)
