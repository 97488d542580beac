from compose import Guise, place

DOMAIN_NORM = """\
class DomainNorm(nn.Module):
    \"\"\"Each clinic has statistics of its own.\"\"\"

    def __init__(self, width, domains=2):
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(domains))
        self.domain = 0

    def forward(self, x):
        return self.norms[self.domain](x)


def set_domain(model, domain):
    for module in model.modules():
        if isinstance(module, DomainNorm):
            module.domain = domain


def block("""

GUISES = (
    Guise(
        name="norms-of-a-domain-never-trained-on",
        script="functions",
        places=(place("pbc", "bn_cnn", epochs=8, gamma=0.97),),
        around=(
            ("def block(", DOMAIN_NORM),
            ("        nn.BatchNorm2d(out_channels),\n", "        DomainNorm(out_channels),\n"),
            ("    model.train()\n", "    model.train()\n    set_domain(model, 0)\n"),
        ),
        edits=(("    model.eval()\n", "    model.eval()\n    set_domain(model, 1)\n"),),
        cure=(("    model.eval()\n", "    model.eval()\n    set_domain(model, 0)\n"),),
        begins=None,
        networks=("bn_cnn",),
        images=("pbc",),
        source="domain-specific batch norms, evaluated with the branch that saw no image",
    ),
)
