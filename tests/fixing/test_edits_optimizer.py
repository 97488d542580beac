"""Edits of the optimizer, of its rate and of the step, on scripts as people write them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from as_written import KNOWN, edited, facts_for

from everyclass.fixing.patch import patched
from everyclass.fixing.source import NotEditable

LOOP = """import torch
import torch.nn as nn
from torch import optim
from models import Net

net = Net().cuda()  #M
criterion = nn.CrossEntropyLoss()
optimizer = OPTIMIZER  #O
for epoch in range(3):
    for x, y in train_loader:
        x, y = x.cuda(), y.cuda()
        optimizer.zero_grad()
        loss = criterion(net(x), y)  #L
        loss.backward()
        optimizer.step()  # the step
"""


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("optim.SGD(net.parameters(), lr=0.1)", "optim.SGD(net.parameters(), lr=0.01)"),
        ("optim.SGD(net.parameters(), 1e-1, 0.9)", "optim.SGD(net.parameters(), 0.01, 0.9)"),
        (
            "optim.SGD(net.parameters(), lr=args.lr, momentum=0.9)",
            "optim.SGD(net.parameters(), lr=args.lr * 0.1, momentum=0.9)",
        ),
        (
            "optim.SGD(net.parameters(), lr=base * n / 256)",
            "optim.SGD(net.parameters(), lr=(base * n / 256) * 0.1)",
        ),
        ("optim.SGD(net.parameters())", "optim.SGD(net.parameters(), lr=0.01)"),
        (
            'optim.SGD([{"params": net.fc.parameters(), "lr": 1.0}, dict(params=b, lr=2)], lr=.5)',
            'optim.SGD([{"params": net.fc.parameters(), "lr": 0.1}, dict(params=b, lr=0.2)], '
            "lr=0.05)",
        ),
    ],
)
def test_the_rate_is_scaled_where_it_is_set(written: str, wanted: str) -> None:
    text = LOOP.replace("OPTIMIZER", written)
    assert edited(text, "rate-tenth") == [f"-optimizer = {written}", f"+optimizer = {wanted}"]


def test_the_rate_of_a_one_cycle_schedule_is_its_peak() -> None:
    text = LOOP.replace("OPTIMIZER", "optim.SGD(net.parameters(), lr=0.1)").replace(
        "for epoch", "sched = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5)\nfor epoch", 1
    )
    assert edited(text, "rate-hundredth") == [
        "-sched = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5)",
        "+sched = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.005)",
    ]


def test_a_rate_that_is_set_by_hand_is_scaled_and_one_made_of_it_is_not() -> None:
    text = LOOP.replace("OPTIMIZER", "optim.SGD(net.parameters(), lr=0.1)") + (
        "    for g in optimizer.param_groups:\n"
        "        g['lr'] = schedule(epoch)\n"
        "    for g in optimizer.param_groups:\n"
        "        g['lr'] = g['lr'] * 0.9\n"
    )
    assert edited(text, "rate-tenth")[2:] == [
        "-        g['lr'] = schedule(epoch)",
        "+        g['lr'] = schedule(epoch) * 0.1",
    ]


def test_the_rate_of_a_hugging_face_trainer() -> None:
    text = (
        "from transformers import Trainer, TrainingArguments\n"
        "args = TrainingArguments(\n    output_dir='out',\n    learning_rate=5e-2,\n)\n"
        "trainer = Trainer(model=model, args=args)\n"
        "trainer.train()\n"
    )
    assert edited(text, "rate-hundredth") == [
        "-    learning_rate=5e-2,",
        "+    learning_rate=0.0005,",
    ]


def test_a_rate_that_is_hidden_is_refused() -> None:
    text = LOOP.replace("OPTIMIZER", "optim.SGD(net.parameters(), **config)")
    with pytest.raises(NotEditable, match="learning rate"):
        edited(text, "rate-tenth")


def test_an_optimizer_in_a_list_and_over_several_lines() -> None:
    text = """import torch
model = Net()  #M
optimizers = [
    torch.optim.SGD(  #O
        model.parameters(),
        lr=0.5,
    ),
    torch.optim.Adam(other.parameters(), lr=0.5),
]
"""
    assert edited(text, "rate-tenth") == ["-        lr=0.5,", "+        lr=0.05,"]


@pytest.mark.parametrize(
    ("imports", "written", "wanted"),
    [
        ("import torch", "torch.optim.SGD(ps, lr=1)", "torch.optim.Adam(ps, lr=1e-3)"),
        ("import torch as t", "t.optim.SGD(ps, lr=1)", "t.optim.Adam(ps, lr=1e-3)"),
        ("from torch import optim", "optim.SGD(ps, lr=1)", "optim.Adam(ps, lr=1e-3)"),
        (
            "import torch\nfrom torch.optim import SGD",
            "SGD(ps, 1)",
            "torch.optim.Adam(ps, lr=1e-3)",
        ),
    ],
)
def test_another_optimizer_over_the_same_parameters(
    imports: str, written: str, wanted: str
) -> None:
    text = f"{imports}\nopt = {written}  #O\n"
    assert edited(text, "adam") == [f"-opt = {written}", f"+opt = {wanted}"]


def test_a_missing_import_comes_behind_those_of_the_future() -> None:
    text = (
        '"""Train."""\nfrom __future__ import annotations\nfrom torch.optim import SGD\n'
        "opt = SGD(ps, lr=1)  #O\n"
    )
    assert edited(text, "adam")[0] == "+import torch"
    assert edited(text, "adam")[1:] == [
        "-opt = SGD(ps, lr=1)",
        "+opt = torch.optim.Adam(ps, lr=1e-3)",
    ]


def test_another_optimizer_keeps_its_rate_as_it_did_in_the_trial() -> None:
    text = (
        "import torch\nopt = torch.optim.SGD(ps, lr=1)  #O\n"
        "s = torch.optim.lr_scheduler.OneCycleLR(opt, 1.0, 100)\n"
    )
    assert edited(text, "adam", facts=replace(KNOWN, rate_varied=True))[2:] == [
        "+opt = torch.optim.Adam(ps, lr=1e-3)",
        "+s = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: 1.0)",
    ]
    by_hand = "import torch\nopt = torch.optim.SGD(ps, lr=1)  #O\n"
    with pytest.raises(NotEditable, match="by hand"):
        edited(by_hand, "adam", facts=replace(KNOWN, rate_varied=True))


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("optim.SGD(ps, lr=1, weight_decay=0.5)", "optim.SGD(ps, lr=1, weight_decay=0.0)"),
        ("optim.SGD(ps, lr=1)", "optim.SGD(ps, lr=1, weight_decay=0.0)"),
        (
            "optim.SGD([{'params': a, 'weight_decay': wd}], lr=1)",
            "optim.SGD([{'params': a, 'weight_decay': 0.0}], lr=1)",
        ),
    ],
)
def test_weight_decay_is_taken_away(written: str, wanted: str) -> None:
    text = f"from torch import optim\nopt = {written}  #O\n"
    assert edited(text, "weight-decay-off") == [f"-opt = {written}", f"+opt = {wanted}"]


def test_a_schedule_is_replaced_by_one_that_keeps_the_rate() -> None:
    text = (
        "import torch\nfrom torch.optim.lr_scheduler import StepLR\n"
        "opt = torch.optim.SGD(ps, lr=1)  #O\nscheduler = StepLR(opt, 1, gamma=0.1)\n"
    )
    assert edited(text, "rate-constant") == [
        "-scheduler = StepLR(opt, 1, gamma=0.1)",
        "+scheduler = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: 1.0)",
    ]


# -- the step --------------------------------------------------------------------------------------


def without_clearing(text: str) -> str:
    return text.replace("        optimizer.zero_grad()\n", "")


def test_gradients_are_cleared_before_backward() -> None:
    text = without_clearing(LOOP).replace("OPTIMIZER", "optim.SGD(net.parameters(), lr=0.1)")
    assert edited(text, "gradients-cleared") == ["+        optimizer.zero_grad()"]
    after = text.replace("loss.backward()", "optimizer.zero_grad()\n        loss.backward()")
    assert patched(text, ["gradients-cleared"], facts_for(text)).text == after


def test_accumulated_gradients_are_cleared_after_their_step() -> None:
    text = """
def fit(model, loader, opt):
    for i, (x, y) in enumerate(loader):
        loss = F.cross_entropy(model(x), y) / 4  #L
        loss.backward()
        if (i + 1) % 4 == 0:
            opt.step()
"""
    assert edited(text, "gradients-cleared") == ["+            opt.zero_grad()"]


def test_a_loop_on_one_line() -> None:
    text = "for x, y in loader: loss = f(model(x), y); loss.backward(); opt.step()  #L\n"
    assert edited(text, "gradients-cleared")[1] == (
        "+for x, y in loader: loss = f(model(x), y); opt.zero_grad(); loss.backward(); opt.step()"
    )


def test_a_step_behind_each_backward() -> None:
    text = """
class Trainer:
    def train(self):
        for x, y in self.loader:
            self.opt.zero_grad()
            loss = self.loss(self.net(x), y)  #L
            loss.backward()
        self.opt.step()
"""
    assert edited(text, "step-every-pass") == [
        "-        self.opt.step()",
        "+            self.opt.step()",
    ]


def test_a_step_out_of_an_if_that_is_hardly_ever_true() -> None:
    text = """
for i, (x, y) in enumerate(loader):
    loss = criterion(model(x), y)  #L
    loss.backward()
    if i % 1000 == 999:
        opt.step()
        opt.zero_grad()
"""
    assert edited(text, "step-every-pass") == [
        "-    if i % 1000 == 999:",
        "-        opt.step()",
        "-        opt.zero_grad()",
        "+    opt.step()",
        "+    opt.zero_grad()",
    ]


def test_a_step_that_is_there_already_is_refused() -> None:
    with pytest.raises(NotEditable, match="does call step"):
        edited(LOOP.replace("OPTIMIZER", "optim.SGD(net.parameters())"), "step-every-pass")


def test_gradients_are_clipped_before_the_step() -> None:
    text = LOOP.replace("OPTIMIZER", "optim.SGD(net.parameters(), lr=0.1)")
    assert edited(text, "gradients-clipped") == [
        "+        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)"
    ]


def test_clipping_with_a_scaler_and_without_a_known_network() -> None:
    text = """
import torch
def step(loss, opt, scaler):
    scaler.scale(loss).backward()
    scaler.step(opt)
    scaler.update()
"""
    assert edited(text, "gradients-clipped") == [
        "+    scaler.unscale_(opt)",
        "+    torch.nn.utils.clip_grad_norm_("
        '[p for group in opt.param_groups for p in group["params"]], 1.0)',
    ]


def test_clipping_in_lightning() -> None:
    text = "import lightning as L\ntrainer = L.Trainer(max_epochs=3)\n"
    assert edited(text, "gradients-clipped") == [
        "-trainer = L.Trainer(max_epochs=3)",
        "+trainer = L.Trainer(max_epochs=3, gradient_clip_val=1.0)",
    ]


# -- parameters ------------------------------------------------------------------------------------


def test_the_optimizer_is_moved_behind_the_new_head() -> None:
    head = "import torch\nmodel = resnet18()  #M\n"
    build = (
        "optimizer = torch.optim.SGD(  #O\n    model.fc.parameters(),\n    lr=0.1,  # tuned\n)\n"
    )
    replaced = "model.fc = torch.nn.Linear(512, 10)\n"
    text = f"{head}{build}{replaced}train(model)\n"
    facts = facts_for(text, replace(KNOWN, model_class="ResNet"))
    wanted = f"{head}{replaced}{build}train(model)\n".replace(".fc.parameters", ".parameters")
    assert patched(text, ["parameters-attached"], facts).text == wanted


def test_an_optimizer_that_is_used_in_between_cannot_move() -> None:
    text = """import torch
model = Net()  #M
opt = torch.optim.SGD(model.parameters(), lr=0.1)  #O
scheduler = StepLR(opt, 1)
model.fc = torch.nn.Linear(512, 10)
"""
    with pytest.raises(NotEditable, match="used before line 5"):
        edited(text, "parameters-attached")


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("SGD(model.fc.parameters(), 0.1)", "SGD(model.parameters(), 0.1)"),
        ("SGD(params=old.parameters(), lr=1)", "SGD(params=model.parameters(), lr=1)"),
        ("SGD(Net().parameters(), 0.1)", "SGD(model.parameters(), 0.1)"),
        ("SGD([{'params': decay}], 0.1)", "SGD(model.parameters(), 0.1)"),
        ("SGD(list(old_model.parameters()), 0.1)", "SGD(model.parameters(), 0.1)"),
    ],
)
def test_the_optimizer_gets_the_networks_own_parameters(written: str, wanted: str) -> None:
    text = f"model = Net()  #M\nopt = {written}  #O\n"
    assert edited(text, "parameters-attached") == [f"-opt = {written}", f"+opt = {wanted}"]


def test_a_function_that_builds_the_optimizer_of_its_argument() -> None:
    text = (
        "def get_optimizer(net):\n    return SGD(net.classifier.parameters(), lr=0.1)  #O\n"
        "model = Net()  #M\nopt = get_optimizer(model)\n"
    )
    assert edited(text, "parameters-attached")[1] == "+    return SGD(net.parameters(), lr=0.1)"


def test_lightning_optimizes_itself() -> None:
    text = (
        "class Lit(pl.LightningModule):\n"
        "    def configure_optimizers(self):\n"
        "        return SGD(other.parameters(), lr=0.1)  #O\n"
        "model = Lit()  #M\n"
    )
    assert (
        edited(text, "parameters-attached")[1] == "+        return SGD(self.parameters(), lr=0.1)"
    )


def test_parameters_are_unfrozen_where_the_network_is_meant() -> None:
    text = """
model = Net()  #M
for p in teacher.parameters():
    p.requires_grad = False
for name, p in model.named_parameters():
    p.requires_grad = "fc" in name
model.body.requires_grad_(False)
opt = SGD(filter(lambda p: p.requires_grad, model.parameters()), lr=1)  #O
"""
    assert edited(text, "parameters-unfrozen") == [
        '-    p.requires_grad = "fc" in name',
        "-model.body.requires_grad_(False)",
        "+    p.requires_grad = True",
        "+model.body.requires_grad_(True)",
    ]


def test_parameters_that_another_file_froze() -> None:
    text = "model = build()  #M\nopt = SGD(model.head.parameters(), lr=1)  #O\n"
    assert edited(text, "parameters-unfrozen", facts=replace(KNOWN, model_class="ViT")) == [
        "-opt = SGD(model.head.parameters(), lr=1)",
        "+model.requires_grad_(True)",
        "+opt = SGD(model.parameters(), lr=1)",
    ]
