"""Edits of inputs, outputs, loss and loader, on scripts as people write them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from as_written import COLOUR, GREY, KNOWN, edited, facts_for

from everyclass.fixing.facts import InputFigures
from everyclass.fixing.patch import patched
from everyclass.fixing.source import NotEditable

SIGMOID_LOSS = replace(KNOWN, loss="binary_cross_entropy_with_logits")
BCE = replace(KNOWN, loss="binary_cross_entropy")
NLL = replace(KNOWN, loss="nll_loss")


# -- inputs ----------------------------------------------------------------------------------------

NET = '''
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(784, 10)

    def forward(self, img, mask=None):
        """Logits of images."""
        return self.fc(img.flatten(1))

model = Net()  #M
'''


def test_inputs_are_standardised_at_the_head_of_forward() -> None:
    assert edited(NET, "inputs-standardised") == [
        "+        # Standardise: inputs came with mean 118 and standard deviation 63.9.",
        "+        img = (img - 118.2) / 63.87",
    ]


def test_whole_numbers_become_floats_first() -> None:
    facts = replace(KNOWN, inputs=replace(GREY, integer=True))
    assert edited(NET, "inputs-standardised", facts=facts)[1] == (
        "+        img = (img.float() - 118.2) / 63.87"
    )


def test_a_forward_on_one_line() -> None:
    text = "class Net(nn.Module):\n    def forward(self, x): return self.fc(x)\nm = Net()  #M\n"
    assert edited(text, "inputs-standardised")[1] == (
        "+    def forward(self, x): x = (x - 118.2) / 63.87; return self.fc(x)"
    )


def test_channels_have_figures_of_their_own() -> None:
    assert edited(NET, "inputs-standardised", facts=replace(KNOWN, inputs=COLOUR))[1:] == [
        "+        input_mean = img.new_tensor([123.7, 116.3, 103.5]).view(-1, 1, 1)",
        "+        input_std = img.new_tensor([58.4, 57.12, 57.38]).view(-1, 1, 1)",
        "+        img = (img - input_mean) / input_std",
    ]


def test_a_hook_where_the_network_is_a_librarys() -> None:
    text = "import timm\nmodel = timm.create_model('resnet18').cuda()  #M\ntrain(model)\n"
    facts = replace(KNOWN, model_class="ResNet")
    assert edited(text, "inputs-standardised", facts=facts) == [
        "+",
        "+def standardise_inputs(module, inputs):",
        "+    # Standardise: inputs came with mean 118 and standard deviation 63.9.",
        "+    x, *others = inputs",
        "+    return (x - 118.2) / 63.87, *others",
        "+",
        "+model.register_forward_pre_hook(standardise_inputs)",
    ]


def test_a_hook_on_the_first_layer_where_the_network_changes_its_inputs_itself() -> None:
    facts = replace(KNOWN, inputs=replace(GREY, layer="fc"))
    assert edited(NET, "inputs-standardised", facts=facts)[-1] == (
        '+model.get_submodule("fc").register_forward_pre_hook(standardise_inputs)'
    )


def test_a_hook_where_a_function_returns_the_network() -> None:
    text = "def make():\n    return nn.Sequential(  #M\n        nn.Flatten(),\n    )\n"
    facts = facts_for(text, replace(KNOWN, model_class="Sequential"))
    after = patched(text, ["inputs-standardised"], facts).text
    assert after.startswith(
        "def make():\n    model = nn.Sequential(  #M\n        nn.Flatten(),\n    )"
    )
    assert after.endswith(
        "    model.register_forward_pre_hook(standardise_inputs)\n    return model\n"
    )


def test_a_hook_before_the_optimizer_where_another_file_builds_the_network() -> None:
    text = "net = build(cfg)\nopt = SGD(net.parameters(), lr=0.1)  #O\n"
    facts = replace(KNOWN, model_class="ResNet", elsewhere={"model": "models.py:4"})
    assert edited(text, "inputs-standardised", facts=facts)[-1] == (
        "+net.register_forward_pre_hook(standardise_inputs)"
    )


def test_a_hook_on_a_wrapped_network() -> None:
    text = "net = build()\nnet = nn.DataParallel(net).cuda()  #M\n"
    assert edited(text, "inputs-standardised")[-1] == (
        "+net.register_forward_pre_hook(standardise_inputs)"
    )


def test_a_hook_where_the_function_that_builds_the_network_is_called() -> None:
    text = "def make():\n    return nn.Sequential(a, b)  #M\nnet = make().cuda()\n"
    facts = replace(KNOWN, model_class="Sequential")
    assert edited(text, "inputs-standardised", facts=facts)[-1] == (
        "+net.register_forward_pre_hook(standardise_inputs)"
    )


HELD = """
class Lit(pl.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.backbone = timm.create_model("resnet18")
        self.loss = nn.CrossEntropyLoss()
    def training_step(self, batch, i):
        x, y = batch
        return self.loss(self.backbone(x), y)  #L
    def configure_optimizers(self):
        return torch.optim.SGD(self.head.parameters(), lr=0.1)  #O
lit = Lit(0.1)  #M
"""


def test_a_network_inside_a_lightning_module() -> None:
    facts = replace(KNOWN, model_class="ResNet")
    assert edited(HELD, "inputs-standardised", facts=facts)[-1] == (
        "+        self.backbone.register_forward_pre_hook(standardise_inputs)"
    )
    assert edited(HELD, "parameters-attached", facts=facts)[1] == (
        "+        return torch.optim.SGD(self.parameters(), lr=0.1)"
    )


def test_a_holder_of_several_networks_is_refused() -> None:
    text = HELD.replace("self.backbone(x)", "self.other(self.backbone(x))").replace(
        "        self.loss =", "        self.other = build()\n        self.loss ="
    )
    with pytest.raises(NotEditable, match="Which part of Lit"):
        edited(text, "inputs-standardised", facts=replace(KNOWN, model_class="ResNet"))


def test_a_network_that_is_only_handed_on_is_refused() -> None:
    text = "trainer = Trainer(ResNet(10), lr=0.1)  #M\n"
    with pytest.raises(NotEditable, match="model"):
        edited(text, "inputs-standardised", facts=replace(KNOWN, model_class="ResNet"))


# -- outputs ---------------------------------------------------------------------------------------


def in_forward(end: str, init: str = "self.fc = nn.Linear(9, 3)") -> str:
    return (
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"        {init}\n    def forward(self, x):\n        {end}\n"
        "model = Net()  #M\nloss = criterion(model(x), y)  #L\n"
    )


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("return F.softmax(self.fc(x), dim=1)", "return self.fc(x)"),
        ("return self.fc(x).softmax(1)", "return self.fc(x)"),
        ("return torch.softmax(self.fc(x), -1), x", "return self.fc(x), x"),
        ("return nn.Softmax(dim=1)(self.fc(x))", "return self.fc(x)"),
        ("return torch.nn.functional.softmax(input, 1)", "return input"),
        ("out = self.fc(x); out = F.softmax(out, 1); return out", "out = self.fc(x); return out"),
    ],
)
def test_a_softmax_in_forward_is_taken_away(written: str, wanted: str) -> None:
    for change in ("probabilities-to-logits", "before-the-last-activation"):
        assert edited(in_forward(written), change) == [f"-        {written}", f"+        {wanted}"]


def test_a_softmax_on_a_line_of_its_own() -> None:
    text = in_forward("x = self.fc(x)\n        x = F.softmax(x, dim=1)\n        return x")
    assert edited(text, "probabilities-to-logits") == ["-        x = F.softmax(x, dim=1)"]


def test_a_softmax_that_is_an_attribute() -> None:
    text = in_forward("return self.act(self.fc(x))", "self.act = nn.Softmax(dim=1)")
    assert edited(text, "probabilities-to-logits")[1] == "+        return self.fc(x)"


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("nn.Sequential(nn.Linear(9, 3), nn.Softmax(1))", "nn.Sequential(nn.Linear(9, 3))"),
        ("nn.Sequential(*[nn.Linear(9, 3), nn.Softmax(1)])", "nn.Sequential(*[nn.Linear(9, 3)])"),
        (
            "nn.Sequential(OrderedDict([('fc', nn.Linear(9, 3)), ('p', nn.Softmax(1))]))",
            "nn.Sequential(OrderedDict([('fc', nn.Linear(9, 3))]))",
        ),
        (
            "nn.Sequential(body, nn.Sequential(nn.Linear(9, 3), nn.Softmax()))",
            "nn.Sequential(body, nn.Sequential(nn.Linear(9, 3)))",
        ),
    ],
)
def test_a_softmax_at_the_end_of_a_sequence(written: str, wanted: str) -> None:
    text = in_forward("return self.net(x)", f"self.net = {written}")
    assert edited(text, "probabilities-to-logits")[1] == f"+        self.net = {wanted}"
    plain = f"model = {written}.to(device)  #M\nloss = F.cross_entropy(model(x), y)  #L\n"
    facts = replace(KNOWN, model_class="Sequential")
    assert edited(plain, "probabilities-to-logits", facts=facts)[1] == (
        f"+model = {wanted}.to(device)"
    )


def test_a_list_of_layers_that_a_loop_fills() -> None:
    text = """
def make(sizes):
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    layers.append(nn.Linear(b, 10))
    layers.append(nn.Softmax(dim=1))
    return nn.Sequential(*layers)  #M
"""
    facts = replace(KNOWN, model_class="Sequential")
    assert edited(text, "probabilities-to-logits", facts=facts) == [
        "-    layers.append(nn.Softmax(dim=1))"
    ]
    loop_last = text.replace("    layers.append(nn.Softmax(dim=1))\n", "").replace(
        "    layers.append(nn.Linear(b, 10))\n", ""
    )
    with pytest.raises(NotEditable, match="not found"):
        edited(loop_last, "before-the-last-activation", facts=facts)


def test_a_softmax_in_the_training_loop() -> None:
    text = """
for x, y in loader:
    out = model(x)
    probs = torch.softmax(out, dim=1)
    loss = criterion(probs, y)  #L
"""
    assert edited(text, "probabilities-to-logits")[1] == "+    probs = out"
    inside = "loss = criterion(F.softmax(model(x), dim=1), y)  #L\n"
    assert edited(inside, "probabilities-to-logits")[1] == "+loss = criterion(model(x), y)"


def test_a_new_head_that_ends_in_a_softmax() -> None:
    text = """
model = resnet18()  #M
model.fc = nn.Sequential(nn.Linear(512, 10), nn.Softmax(dim=1))
loss = criterion(model(x), y)  #L
"""
    facts = replace(KNOWN, model_class="ResNet", head="fc.0")
    assert edited(text, "probabilities-to-logits", facts=facts)[1] == (
        "+model.fc = nn.Sequential(nn.Linear(512, 10))"
    )


def test_a_softmax_of_another_file_is_undone_in_the_loss() -> None:
    text = "out = model(x)\nloss = criterion(out, y)  #L\n"
    assert edited(text, "probabilities-to-logits")[1] == (
        "+loss = criterion(out.clamp(min=1e-7).log(), y)"
    )
    assert edited(text, "probabilities-to-logits", facts=SIGMOID_LOSS)[1] == (
        "+loss = criterion(out.clamp(1e-6, 1 - 1e-6).logit(), y)"
    )


def test_only_a_sigmoid_stands_before_a_binary_loss() -> None:
    text = in_forward("return torch.sigmoid(self.fc(x)).squeeze(1)")
    assert edited(text, "probabilities-to-logits", facts=SIGMOID_LOSS)[1] == (
        "+        return self.fc(x).squeeze(1)"
    )


def test_the_activation_that_the_loss_needs_takes_the_place() -> None:
    text = in_forward("return F.softmax(self.fc(x), dim=1)")
    assert edited(text, "before-the-last-activation", facts=BCE)[1] == (
        "+        return self.fc(x).sigmoid()"
    )
    text = in_forward("return self.net(x)", "self.net = nn.Sequential(nn.Linear(9, 3), nn.ReLU())")
    assert edited(text, "before-the-last-activation", facts=NLL)[1] == (
        "+        self.net = nn.Sequential(nn.Linear(9, 3), nn.LogSoftmax(dim=1))"
    )


def test_a_relu_between_other_layers_is_left() -> None:
    text = in_forward("return self.fc(F.relu(x))")
    with pytest.raises(NotEditable, match="not found"):
        edited(text, "before-the-last-activation")


# -- the loss --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("nn.CrossEntropyLoss(weight=w)", "nn.CrossEntropyLoss()"),
        ("nn.CrossEntropyLoss(w)", "nn.CrossEntropyLoss()"),
        ("nn.CrossEntropyLoss(w.to(device)).to(device)", "nn.CrossEntropyLoss().to(device)"),
        (
            "nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]), reduction='mean')",
            "nn.CrossEntropyLoss(reduction='mean')",
        ),
        (
            "nn.CrossEntropyLoss(reduction='mean', weight=(w / 2),)",
            "nn.CrossEntropyLoss(reduction='mean',)",
        ),
    ],
)
def test_weights_are_taken_out_of_the_loss(written: str, wanted: str) -> None:
    text = f"criterion = {written}\nfor x, y in loader:\n    loss = criterion(model(x), y)  #L\n"
    assert edited(text, "weights-removed") == [f"-criterion = {written}", f"+criterion = {wanted}"]


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("F.cross_entropy(out, y, weight=w)", "F.cross_entropy(out, y)"),
        ("F.cross_entropy(out, y, w)", "F.cross_entropy(out, y)"),
        ("F.nll_loss(out, y, w, None, -1)", "F.nll_loss(out, y, None, None, -1)"),
    ],
)
def test_weights_are_taken_out_of_the_function(written: str, wanted: str) -> None:
    assert edited(f"loss = {written}  #L\n", "weights-removed") == [
        f"-loss = {written}",
        f"+loss = {wanted}",
    ]


def test_the_weights_of_another_loss_stay() -> None:
    text = (
        "val_loss = nn.CrossEntropyLoss(weight=w)\nself.criterion = nn.CrossEntropyLoss(weight=w)\n"
        "loss = self.criterion(out, y)  #L\n"
    )
    assert edited(text, "weights-removed")[1] == "+self.criterion = nn.CrossEntropyLoss()"
    assert len(edited(text, "weights-removed")) == 2


def test_a_loss_that_is_handed_on_under_another_name() -> None:
    text = (
        "def step(model, loss_fn, x, y):\n    return loss_fn(model(x), y)  #L\n"
        "criterion = nn.CrossEntropyLoss(weight=w, label_smoothing=0.1)\n"
    )
    assert edited(text, "weights-removed")[1] == (
        "+criterion = nn.CrossEntropyLoss(label_smoothing=0.1)"
    )
    assert edited(text, "smoothing-removed")[1] == "+criterion = nn.CrossEntropyLoss(weight=w)"


def test_the_prior_enters_the_loss() -> None:
    text = (
        "import torch\nfrom torch import nn\n\nmodel = Net()\n"
        "out = model(x)\nloss = criterion(out, y)  #L\n"
    )
    assert [one for one in edited(text, "prior-corrected") if one != "+"] == [
        "+# ln of each class's share of the training labels, in the order of the outputs.",
        "+LOG_PRIOR = [-0.1054, -2.3026]",
        "-loss = criterion(out, y)",
        "+loss = criterion(out + out.new_tensor(LOG_PRIOR), y)",
    ]


def test_the_prior_where_the_logits_have_no_name() -> None:
    text = "import torch\ndef f(x, y):\n    return F.cross_entropy(model(x), y)  #L\n"
    assert edited(text, "prior-corrected")[-2:] == [
        "+    scores = model(x)",
        "+    return F.cross_entropy(scores + scores.new_tensor(LOG_PRIOR), y)",
    ]
    lazy = "import torch\nf = lambda x, y: F.cross_entropy(model(x), y)  #L\n"
    with pytest.raises(NotEditable, match="longer expression"):
        edited(lazy, "prior-corrected")


def test_the_prior_enters_log_probabilities_and_they_sum_to_one_again() -> None:
    text = "import torch\nloss = F.nll_loss(out, y)  #L\n"
    assert edited(text, "prior-corrected", facts=NLL)[-1] == (
        "+loss = F.nll_loss((out + out.new_tensor(LOG_PRIOR)).log_softmax(dim=1), y)"
    )


def test_weights_become_those_of_the_counts() -> None:
    text = "import torch\ncriterion = nn.CrossEntropyLoss(weight=w)\nl = criterion(out, y)  #L\n"
    assert edited(text, "weights-balanced")[1] == (
        "+criterion = nn.CrossEntropyLoss(weight=torch.tensor([0.5556, 5]))"
    )
    with pytest.raises(NotEditable, match="not recognised"):
        edited(text.replace("weight=w", ""), "weights-balanced")


@pytest.mark.parametrize(
    ("written", "wanted"),
    [("F.nll_loss(out, y)", "F.nll_loss(out.log_softmax(dim=1), y)"),
     ("F.nll_loss(a + b, y)", "F.nll_loss((a + b).log_softmax(dim=1), y)")],
)  # fmt: skip
def test_logits_get_a_log_softmax(written: str, wanted: str) -> None:
    assert edited(f"loss = {written}  #L\n", "log-softmax-added", facts=NLL) == [
        f"-loss = {written}",
        f"+loss = {wanted}",
    ]
    with pytest.raises(NotEditable, match="not nll_loss"):
        edited(f"loss = {written}  #L\n", "log-softmax-added")


def test_targets_take_the_shape_of_the_outputs() -> None:
    text = "loss = F.mse_loss(out, y.float())  #L\nval += F.mse_loss(out, y.float()).item()\n"
    assert edited(text, "targets-in-shape")[2:] == [
        "+loss = F.mse_loss(out, y.float().view_as(out))",
        "+val += F.mse_loss(out, y.float().view_as(out)).item()",
    ]


def test_a_loss_of_another_file_is_refused_with_its_place() -> None:
    facts = replace(KNOWN, elsewhere={"loss": "engine.py:12"})
    with pytest.raises(NotEditable, match=r"engine\.py:12"):
        patched("import engine\nengine.train()\n", ["weights-removed"], facts)


# -- the stream and the rest -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("DataLoader(train, 32)", "DataLoader(train, 32, shuffle=True)"),
        ("DataLoader(train, 32, False)", "DataLoader(train, 32, True)"),
        ("DataLoader(train, shuffle=False)", "DataLoader(train, shuffle=True)"),
        ("DataLoader(train, sampler=SequentialSampler(train))", "DataLoader(train, shuffle=True)"),
    ],
)
def test_the_training_loader_shuffles(written: str, wanted: str) -> None:
    text = (
        f"val = DataLoader(b)\nloader = {written}\n"
        "for i, (x, y) in tqdm(enumerate(loader)):\n    loss = f(model(x), y)  #L\n"
        "    loss.backward()\n    opt.step()\n"
    )
    assert edited(text, "shuffled") == [f"-loader = {written}", f"+loader = {wanted}"]


def test_the_loaders_of_a_data_module() -> None:
    text = """
class Data(pl.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(
            self.a,
            batch_size=32,
        )
    def val_dataloader(self):
        return DataLoader(self.b, batch_size=32)
"""
    assert edited(text, "shuffled") == ["+            shuffle=True,"]


def test_loaders_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(NotEditable, match="Which of the DataLoaders"):
        edited("a = DataLoader(x)\nb = DataLoader(y)\n", "shuffled")


def test_dropout_is_off() -> None:
    text = "net = nn.Sequential(nn.Dropout(p=0.9), nn.Dropout2d(0.95), nn.Dropout())  #M\n"
    assert edited(text, "dropout-off")[1] == (
        "+net = nn.Sequential(nn.Dropout(p=0.0), nn.Dropout2d(0.0), nn.Dropout(0.0))"
    )


def test_weights_are_drawn_before_the_optimizer_is_built() -> None:
    text = "import torch\nmodel = Net()  #M\nmodel.apply(bad)\nopt = SGD(model.parameters())  #O\n"
    lines = edited(text, "initialised-anew")
    assert lines[0] == "+for module in model.modules():"
    assert lines[-1] == '+model.get_submodule("fc").weight.data.mul_(0.1)'


def test_hidden_sigmoids_become_relu_and_the_last_one_stays() -> None:
    text = (
        "import torch\nfrom torch import nn\n"
        "model = nn.Sequential(  #M\n    nn.Linear(9, 9), nn.Sigmoid(),\n"
        "    nn.Linear(9, 2), nn.Sigmoid(),\n)\nopt = SGD(model.parameters())  #O\n"
    )
    lines = edited(text, "hidden-relu")
    assert lines[:2] == [
        "-    nn.Linear(9, 9), nn.Sigmoid(),",
        "+    nn.Linear(9, 9), torch.nn.ReLU(),",
    ]
    assert "+for module in model.modules():" in lines
    assert not any("nn.Linear(9, 2)" in one for one in lines)
    with pytest.raises(NotEditable, match="No sigmoid"):
        edited(text.replace("nn.Linear(9, 9), nn.Sigmoid(),", "nn.Linear(9, 9),"), "hidden-relu")


def test_two_changes_of_a_pair() -> None:
    text = NET + "opt = SGD(model.parameters(), lr=0.1)  #O\n"
    after = edited(text, "inputs-standardised", "rate-tenth")
    assert "+opt = SGD(model.parameters(), lr=0.01)" in after
    assert "+        img = (img - 118.2) / 63.87" in after


def test_a_change_without_an_edit_is_refused() -> None:
    with pytest.raises(NotEditable, match="none that can be written"):
        edited("import torch\n", "batchnorm-added")


# -- a transform that normalises -------------------------------------------------------------------

TRANSFORMS = """
train_tf = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
val_tf = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean=MEAN, std=STD)])
"""


def through_normalize(levels: list[float], mean: float, sd: float) -> InputFigures:
    """Figures of images whose grey levels went through a Normalize."""
    values = [(one - mean) / sd for one in levels]
    centre = sum(values) / len(values)
    spread = (sum((one - centre) ** 2 for one in values) / len(values)) ** 0.5
    return InputFigures(mean=(centre,), sd=(spread,), samples=(tuple(values),))


def test_a_normalize_gets_the_figures_of_the_images_that_reach_it() -> None:
    text = TRANSFORMS.replace("MEAN", "(0.5,)").replace("STD", "[0.25]") + NET
    facts = replace(KNOWN, inputs=through_normalize([0.0, 50.0, 100.0, 250.0], 0.5, 0.25))
    # Mean 100; deviations -100, -50, 0, 150, so their mean square is 35,000 / 4.
    assert edited(text, "inputs-standardised", facts=facts)[2:] == [
        "+train_tf = transforms.Compose([transforms.ToTensor(), "
        "transforms.Normalize((100,), [93.54])])",
        "+val_tf = transforms.Compose([transforms.ToTensor(), "
        "transforms.Normalize(mean=(100,), std=[93.54])])",
    ]


def test_a_normalize_that_the_inputs_did_not_come_from_is_left() -> None:
    text = TRANSFORMS.replace("MEAN", "(0.485,)").replace("STD", "(0.229,)") + NET
    raw = InputFigures(mean=(100.0,), sd=(93.5,), samples=((0.0, 50.0, 100.0, 250.0),))
    lines = edited(text, "inputs-standardised", facts=replace(KNOWN, inputs=raw))
    assert lines[-1] == "+        img = (img - 100) / 93.5"


def test_normalizes_that_differ_are_left() -> None:
    text = (
        TRANSFORMS.replace("mean=MEAN", "mean=(0.4,)")
        .replace("MEAN", "(0.5,)")
        .replace("STD", "(0.25,)")
        + NET
    )
    facts = replace(KNOWN, inputs=through_normalize([0.0, 50.0, 100.0, 250.0], 0.5, 0.25))
    assert edited(text, "inputs-standardised", facts=facts)[-1].startswith("+        img = ")


def test_positional_rates_of_schedules() -> None:
    text = (
        "from torch import optim\nopt = optim.SGD(ps, lr=0.1)  #O\n"
        "s = optim.lr_scheduler.CyclicLR(opt, 0.01, max_lr=top)\n"
    )
    assert edited(text, "rate-tenth")[1] == (
        "+s = optim.lr_scheduler.CyclicLR(opt, 0.001, max_lr=top * 0.1)"
    )
