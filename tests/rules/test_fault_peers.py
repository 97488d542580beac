"""Peers of the fault benchmark: their calls change no script, their words are judged as written.

Nothing is installed here: adapters are stood in for by one that records.
"""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch

from everyclass.findings import CauseId

FAULTS = Path(__file__).parents[2] / "benchmarks" / "faults"

TOY = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(3)
x, y = torch.randn(24, 5), torch.arange(24) % 3
model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(2):
    model.train()
    for inputs, targets in zip(x.split(8), y.split(8)):
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()
        print(loss.item())
    model.eval()
    with torch.no_grad():
        total = sum(
            F.cross_entropy(model(a), b, reduction="sum").item()
            for a, b in zip(x.split(10), y.split(10))
        )
    print("val", total / 24)
print(sum(p.sum() for p in model.parameters()).item())
"""


@pytest.fixture(scope="module", autouse=True)
def peers():
    sys.path.insert(0, str(FAULTS))
    try:
        yield importlib.import_module("peers")
    finally:
        sys.path.remove(str(FAULTS))


class Recording:
    """Stands where `_watcher` stands: keeps what the script hands over."""

    def __init__(self):
        self.pairs = []

    def batch(self, model, inputs, targets, loss_fn):
        rng = torch.get_rng_state()
        self.value = loss_fn(model(inputs()), targets)
        torch.set_rng_state(rng)

    def loss(self, value):
        self.pairs.append((self.value.item(), value.item()))


LOOPS = {
    "plain": "out = model(x)\n    loss = crit(out, y)\n    loss.backward()",
    "loss through the output": (
        "out = F.log_softmax(model(x), 1)\n    loss = F.nll_loss(out, y)\n    loss.backward()"
    ),
    "clearing in between": (
        "out = model(x)\n    seen += len(x)\n    loss = crit(out, y)\n    opt.zero_grad()\n"
        "    print(loss.item())\n    loss.backward()"
    ),
    "a part of the loss": "loss = crit(model(x), y)\n    (loss / 4).backward()",
    "under a context": (
        "with torch.enable_grad():\n        out = model(x)\n        loss = crit(out, y)\n"
        "    loss.backward()"
    ),
    "all under a context": (
        "with torch.enable_grad():\n        out = model(x)\n        loss = crit(out, y)\n"
        "        loss.backward()"
    ),
    "under a condition": (
        "out = model(x)\n    loss = crit(out, y)\n    if training:\n        opt.zero_grad()\n"
        "        loss.backward()"
    ),
    "mixed": (
        "other = y.flip(0)\n    out = model(0.7 * x + 0.3 * x.flip(0))\n"
        "    loss = 0.7 * crit(out, y)\n    loss = loss + 0.3 * crit(out, other)\n"
        "    loss.backward()"
    ),
    "scaled": "out = model(x)\n    loss = crit(out, y)\n    scaler.scale(loss).backward()",
}


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS.keys())
def test_the_function_handed_over_is_the_scripts_own_loss(loop):
    from peers.inject import with_calls

    text = f"for x, y in batches:\n    {loop}\n"
    watcher = Recording()
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 3)
    scope = {
        "torch": torch,
        "F": torch.nn.functional,
        "model": model,
        "crit": torch.nn.CrossEntropyLoss(),
        "opt": torch.optim.SGD(model.parameters(), lr=0.1),
        "scaler": torch.amp.GradScaler(enabled=False),
        "training": True,
        "seen": 0,
        "batches": [(torch.randn(6, 4), torch.arange(6) % 3) for _ in range(2)],
        "_watcher": watcher,
    }
    exec(with_calls(text), scope)
    assert len(watcher.pairs) == 2
    for ours, theirs in watcher.pairs:
        assert ours == pytest.approx(theirs, rel=1e-6)


def test_the_steps_of_every_script_are_found():
    from compose import compose
    from peers.inject import UnknownLoop, with_calls
    from registry import cells

    for cell in [*cells(seeds=1, healthy=True), *cells(seeds=1, healthy=False)]:
        if cell.guise.script == "hf_trainer":  # its loop is the library's; attached at run time
            continue
        script = compose(cell.guise, cell.at)
        try:
            text = with_calls(script)
        except UnknownLoop:
            # No backward() to stand before, no call of the network by its name, or another forward
            # and backward before them (an attack): told to the user.
            unknown = ("autograd.grad(", "functional_call(model", "(model(x), y).backward()")
            assert any(text in script for text in unknown), cell.key
            continue
        assert text.count("_watcher.batch(") == text.count("_watcher.loss(") == 1, cell.key


def test_a_script_without_a_known_step_is_refused():
    from peers.inject import UnknownLoop, with_calls

    with pytest.raises(UnknownLoop, match=r"backward\(\)"):
        with_calls("for x, y in batches:\n    fit(x, y)\n")


def test_moments_of_a_training(tmp_path, monkeypatch, capsys):
    from peers.adapters.base import Adapter
    from peers.attach import run

    class Keeping(Adapter):
        def __init__(self):
            super().__init__()
            self.steps, self.losses, self.evaluations, self.ended = [], [], [], 0

        def batch(self, moment):
            self.steps.append((moment.step, moment.kind, len(moment.inputs()), moment.rate))

        def backward(self, moment, loss):
            assert all(p.grad is not None for p in moment.model.parameters())
            self.losses.append(loss)

        def evaluated(self, moment, loss):
            self.evaluations.append((moment.step, loss))

        def end(self):
            self.ended += 1

    script = tmp_path / "train.py"
    script.write_text(TOY)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    adapter = Keeping()
    assert run(adapter, script) == (0, "")
    printed = capsys.readouterr().out.split("\n")
    losses = [float(line) for line in printed[:3] + printed[4:7]]
    assert adapter.steps == [(i, "loop", 8, 0.1) for i in range(6)]
    assert adapter.losses == losses
    # Two evaluations, after the third and the sixth batch, with the mean that the script prints.
    assert [step for step, _ in adapter.evaluations] == [2, 5]
    told = [float(line.removeprefix("val ")) for line in printed if line.startswith("val")]
    assert [loss for _, loss in adapter.evaluations] == pytest.approx(told)
    assert adapter.ended == 1
    assert torch.Tensor.backward.__name__ == "backward"
    assert not hasattr(torch.nn.functional.cross_entropy, "__wrapped__")


def test_a_peer_that_fails_is_told_from_a_script_that_fails(tmp_path, monkeypatch, capsys):
    from peers.adapters.base import Adapter
    from peers.attach import run

    class Failing(Adapter):
        def backward(self, moment, loss):
            raise ValueError("units are 3")

    class Violated(Adapter):
        def batch(self, moment):
            raise RuntimeError("output should change")

        def stopped(self, error):
            self.say("check", "error", str(error))
            return True

    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    script = tmp_path / "train.py"
    script.write_text(TOY)
    assert run(Failing(), script) == (1, "ValueError: units are 3")
    violated = Violated()
    assert run(violated, script) == (0, "")
    assert [one.text for one in violated.said] == ["output should change"]
    script.write_text(TOY.replace("loss.backward()", "loss.backward()\n        1 / 0"))
    assert run(Adapter(), script) == (1, "")
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_the_calls_alone_change_no_figure(tmp_path):
    (tmp_path / "train.py").write_text(TOY)
    alone = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    attached = subprocess.run(
        [sys.executable, "-m", "peers.attach", "control", "train.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(FAULTS), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert attached.stdout == alone.stdout
    assert json.loads((tmp_path / "said.json").read_text()) == {"said": [], "failure": ""}


def said(check, text, level="warning"):
    return {"check": check, "text": text, "level": level, "step": None}


def test_the_table_names_known_peers_and_causes_only():
    from peers.causes import ADVICE, RULES
    from peers.tools import PEERS

    runnable = {peer.name for peer in PEERS if not peer.refused}
    assert set(RULES) == runnable
    assert set(ADVICE) <= runnable
    named = {cause for rules in RULES.values() for _, _, causes in rules for cause in causes}
    assert named <= set(get_args(CauseId))


@pytest.mark.parametrize(
    ("peer", "message", "causes"),
    [
        ("traintools", said("batch", "labels outside [0, 8]: [9]"), ("labels-out-of-range",)),
        (
            "traintools",
            said("gradient", "fc.weight update/weight ratio is high (3e-01)"),
            ("learning-rate-too-high",),
        ),
        (
            "torchtest2",
            said("optimizer_coverage", "2 trainable parameter(s) are not in the optimizer"),
            ("parameters-not-optimised",),
        ),
        (
            "torchtest2",
            said(
                "loss", "computing the loss raised IndexError: Target 9 is out of bounds.", "error"
            ),
            ("labels-out-of-range",),
        ),
        ("torch-audit", said("TA301", "Input values range from 0 to 255"), ("inputs-not-scaled",)),
        ("torchdiag", said("gradients", "conv1.weight: gradient max nan"), ("non-finite",)),
        (
            "gradsnitch",
            said("GS008", "LR too low (update/weight ratio)"),
            ("learning-rate-too-low",),
        ),
        (
            "torcheck",
            said("check", "Module model's output shouldn't all > 0 and < 1", "error"),
            ("softmax-before-loss", "output-activation-wrong"),
        ),
        ("training-doctor", said("overfitting", "Overfitting detected"), ()),
    ],
)
def test_messages_and_their_causes(peer, message, causes):
    from peers.causes import heard

    told = heard(peer, [message])
    assert (told.flagged, told.causes) == (True, causes)


def test_gravity_orders_and_advice_is_no_accusation():
    from peers.causes import heard

    hints = [
        said("TA201", "channels last"),
        said("TA402", "decay on bias"),
        said("TA203", "", "info"),
    ]
    assert heard("torch-audit", hints) == heard("torch-audit", [])
    assert not heard("torch-audit", hints).flagged
    messages = [said("TA105", "97 % dead"), said("TA301", "0 to 255", "error"), *hints]
    assert heard("torch-audit", messages).causes == ("inputs-not-scaled", "dead-units")
    # The same cause from two messages counts once, at its first place.
    twice = [said("GS003", "spike"), said("GS005", "flat"), said("GS009", "swings")]
    assert heard("gradsnitch", twice).causes[:2] == (
        "learning-rate-too-high",
        "learning-rate-too-low",
    )
    assert len(set(heard("gradsnitch", twice).causes)) == len(heard("gradsnitch", twice).causes)
    assert not heard("runmedic", [said("val_below_train", "", "info")]).flagged


def row(peer, key, outcome="broken", messages=(), **changes):
    return {
        "peer": peer,
        "key": key,
        "cause": "non-finite",
        "accepts": ["non-finite", "precision-loss"],
        "seconds": 10.0,
        "truth": {"outcome": outcome},
        "printed": ["train confusion: [[1]]"],
        "said": list(messages),
        "failure": "",
        **changes,
    }


def test_judged_by_the_controls_truth(capsys):
    from peers.table import judged, print_report, share

    bad = said("GS001", "Loss became NaN/Inf")  # rate, non-finite, half precision: second place
    rows = [
        row("control", "a"),
        row("control", "b"),
        row("control", "c", "sound"),
        row("control", "d", "sound", failure="ZeroDivisionError", printed=[]),
        row("gradsnitch", "a", "sound", [bad], seconds=15.0),
        row("gradsnitch", "b", "broken", [bad], failure="ValueError: no"),
        row("gradsnitch", "c", "sound", [said("GS004", "overfits")], printed=["other"]),
        row("gradsnitch", "d", "sound", failure="ZeroDivisionError", printed=[]),
        row("gradsnitch", "without a control"),
    ]
    found = {one.row["key"]: one for one in judged(rows)["gradsnitch"]}
    assert set(found) == {"a", "b", "c", "d"}
    a, b, c, d = (found[key] for key in "abcd")
    assert (a.outcome, a.top, a.ratio, a.changed) == ("broken", 2, 1.5, False)
    assert (b.top, b.failed) == (2, "ValueError: no")  # what it said before it failed counts
    assert (c.outcome, c.heard.flagged, c.heard.causes, c.changed) == ("sound", True, (), True)
    assert d.failed == ""  # the script's own failure
    # 1 of 2: Clopper-Pearson at 95 % is 1 - 0.975**(1/2) to 0.975**(1/2).
    assert share([True, False]) == "1/2 (1%-99%)"
    print_report(rows, [{"package": "x==1", "ok": False, "note": "licence", "peer": "x"}])
    printed = capsys.readouterr().out
    assert "x==1: not installed: licence" in printed
    line = next(line for line in printed.splitlines() if line.startswith("gradsnitch  "))
    assert line.split()[1:10:2] == ["2/2", "0/2", "2/2", "2/2", "1/2"]
    assert line.endswith("1 of 3 runs printed other figures, 1 failed")


def test_runs_by_key_by_text_and_by_share(tmp_path):
    from peers.runs import from_file, from_registry, part_of

    first = from_registry(healthy=2, faulty=0, first_seed=4)
    assert [run.seed for run in first] == [4, 4]
    path = tmp_path / "runs.jsonl"
    own = {
        "key": "pair",
        "cause": "dead-units",
        "text": "x = 1\n",
        "accepts": ["dead-units", "non-finite"],
    }
    path.write_text("".join(json.dumps(one) + "\n" for one in ({"key": first[1].key}, own)))
    again, pair = from_file(path)
    assert again == first[1]
    assert (pair.text, pair.accepts, pair.seed) == ("x = 1\n", ("dead-units", "non-finite"), 0)
    assert pair.outcome is None
    assert part_of([first[0], again, pair], only="", shard="1/2") == [again]
    assert part_of([first[0], again, pair], only="^pair", shard="0/1") == [pair]
    path.write_text(json.dumps({**own, "outcome": "broken"}) + "\n")
    assert from_file(path)[0].outcome == "broken"
    path.write_text('{"key": "nothing/of-this-name seed=0"}\n')
    with pytest.raises(ValueError, match="line 1"):
        from_file(path)


def test_installations_are_made_once_and_refusals_never(tmp_path):
    from peers.environments import RECORD, installed
    from peers.tools import Peer, peer_named

    refused = installed(peer_named("pulseml"), tmp_path)
    assert not refused.ok
    assert "licence" in refused.note
    assert list(tmp_path.iterdir()) == []
    known = {"peer": "p", "package": "p==1", "python": "py", "ok": True, "note": "", "seconds": 2.0}
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / RECORD).write_text(json.dumps(known))
    assert installed(Peer(name="p", package="p==1"), tmp_path).seconds == 2.0
