"""Rules of `benchmarks/faults/causes.py`: what is drawn, what counts as right, how it is reported.

Kinds: rules over the drawn plans; hand-computed figures of the report; remedies tried in processes
of their own, because they change torch for good.
"""

import importlib
import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from everyclass.diagnosis.changes import changes
from everyclass.findings import CauseId

FAULTS = Path(__file__).parents[2] / "benchmarks" / "faults"
ALL_SETS = ("", "demo", "trashnet", "pbc")
MODULES = ("matrix", "measure", "remedied", "causes_report", "registry", "compose", "by_calls")


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(FAULTS))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(FAULTS))


@pytest.fixture(scope="module")
def plans(bench):
    return bench.matrix.drawn(sets=ALL_SETS, first_seed=0)


def of_kind(plans, kind):
    return [plan for plan in plans if plan.kind == kind]


# -- what is drawn ---------------------------------------------------------------------------------


def test_every_script_is_python_and_its_twin_differs(plans):
    for plan in plans:
        twin = plan.twin()
        compile(twin, plan.key, "exec")
        for fault in plan.faults:
            compile(plan.script((fault,)), plan.key, "exec")
            assert plan.script((fault,)) != twin, plan.key
        compile(plan.faulty(), plan.key, "exec")
        assert "parts." not in plan.faulty()
        assert "everyclass" not in plan.faulty()


def test_names_are_unique_and_accepted_causes_known(bench, plans):
    known = list(bench.matrix.faults())
    healthy = [guise for cause, guise in bench.registry.all_guises() if cause == "healthy"]
    names = Counter([fault.guise.name for fault in known] + [guise.name for guise in healthy])
    assert max(names.values()) == 1
    assert max(Counter(plan.key for plan in plans).values()) == 1
    for fault in known:
        assert set(fault.accepts) <= set(get_args(CauseId)), fault.guise.name


def test_causes_guises_and_those_kept_aside_are_as_many_as_promised(bench):
    known = list(bench.matrix.faults())
    guises = Counter(fault.cause for fault in known)
    assert sum(n >= 3 for n in guises.values()) >= 25
    kept_aside = Counter(fault.cause for fault in known if fault.held_out)
    assert set(kept_aside) == set(guises)
    assert min(kept_aside.values()) >= 1


def test_the_fraction_is_balanced(bench, plans):
    ones, twos = of_kind(plans, "one"), of_kind(plans, "two")
    free = {
        fault.guise.name for fault in bench.matrix.faults() if not fault.guise.images
    }  # not written for a set of their own
    sets = defaultdict(set)
    for plan in ones:
        sets[plan.faults[0].guise.name].add(plan.at.images)
    assert not {name for name in free if len(sets[name]) < 2} - {
        "listdir-against-table",  # the only set that is read from a table
        "softmax-layer",  # of VGG, in a script that corrects no imbalance
        "probabilities-called-logits",  # likewise: of few networks and sets
    }
    images = Counter(
        plan.at.images for plan in ones if plan.at.images in ("digits", "trashnet", "pbc")
    )
    assert max(images.values()) <= 1.6 * min(images.values())
    networks = Counter(plan.at.network for plan in ones)
    assert all(networks[name] >= 0.12 * len(ones) for name in bench.matrix.NETWORKS)
    assert len(twos) >= 55  # at least 30 must turn out to need both
    assert len(of_kind(plans, "healthy")) >= 50
    assert len(Counter(plan.herring for plan in ones)) == len(bench.matrix.HERRINGS)
    assert len({plan.seed for plan in plans}) == bench.matrix.SEEDS


def test_a_part_of_the_list_is_a_fair_part(plans):
    for shard in (plans[0::2], plans[1::2], plans[: len(plans) // 2]):
        for kind in ("one", "two", "healthy"):
            share = len(of_kind(shard, kind)) / len(of_kind(plans, kind))
            assert share == pytest.approx(0.5, abs=0.1)


def test_without_real_images_what_needs_them_is_left_out(bench):
    found = bench.matrix.drawn(sets=("", "demo"), first_seed=0)
    assert {bench.matrix.needs(plan.at.images) for plan in found} <= {"", "demo"}
    assert {plan.kind for plan in found} == {"one", "two", "healthy"}


def test_drawing_again_draws_the_same(bench, plans):
    again = bench.matrix.drawn(sets=ALL_SETS, first_seed=0)
    assert [plan.key for plan in again] == [plan.key for plan in plans]
    assert [plan.seed for plan in bench.matrix.drawn(sets=ALL_SETS, first_seed=7)] == [
        plan.seed + 7 for plan in plans
    ]


# -- repair ----------------------------------------------------------------------------------------


def test_a_change_is_applied_whether_right_or_wrong(bench, plans):
    plan = next(plan for plan in of_kind(plans, "one") if plan.base.script == "plain")
    told = bench.remedied.remedied(plan, [("learning-rate-too-high", "rate-tenth")])
    assert (told.how, told.changes) == ("applied", ("rate-tenth",))
    assert "RATE_FACTOR = 0.1\n" in told.script
    assert told.script.startswith('"""Train an image classifier."""\n\n# The learning rate times')
    _, _, rest = plan.faulty().partition('"""Train an image classifier."""')
    assert told.script.endswith(rest.lstrip("\n"))
    compile(told.script, "remedied", "exec")


def test_by_hand_only_the_own_cause_is_put_right(bench, plans):
    plan = next(
        plan for plan in plans if plan.kind == "one" and plan.faults[0].cause == "graph-detached"
    )
    assert bench.remedied.remedied(plan, [("labels-unrelated", "")]).how == "nothing"
    assert bench.remedied.remedied(plan, []).script is None
    own = bench.remedied.remedied(plan, [("graph-detached", "")])
    assert (own.how, own.script) == ("by hand", plan.twin())


def test_of_two_faults_one_put_right_leaves_the_other(bench, plans):
    plan = next(
        plan for plan in of_kind(plans, "two") if not bench.remedied.has_file(plan.faults[0].cause)
    )
    first, second = plan.faults
    own = bench.remedied.remedied(plan, [(first.cause, "")])
    assert own.script == plan.script((second,))
    both = bench.remedied.remedied(plan, [(first.cause, ""), (second.cause, "")])
    assert both.script == plan.twin()


def test_remedies_name_changes_that_exist(bench):
    files = {path.stem.replace("_", "-") for path in (FAULTS / "remedies").glob("*.py")}
    names = {change.name for change in changes()}
    assert files - {"rate-times", "weights-balanced"} <= names
    assert set(bench.remedied.FACTORS) <= names
    assert all(bench.remedied.has_file(name) for name in bench.remedied.TUTORIAL)


REMEDY_TRIALS = {
    "rate-tenth": """
w = torch.nn.Parameter(torch.zeros(1)); o = torch.optim.SGD([w], lr=1.0)
w.sum().backward(); o.step()
assert abs(w.item() + 0.1) < 1e-7 and o.param_groups[0]["lr"] == 1.0
""",
    "weight-decay-off": """
w = torch.nn.Parameter(torch.ones(1)); o = torch.optim.SGD([w], lr=1.0, weight_decay=0.5)
(0 * w).sum().backward(); o.step()
assert w.item() == 1.0
""",
    "inputs-standardised": """
seen = []
class Net(torch.nn.Module):
    def __init__(self): super().__init__(); self.a = torch.nn.Conv2d(3, 2, 3)
    def forward(self, x): seen.append(x); return self.a(x)
net = Net(); net(200 + 40 * torch.randn(16, 3, 8, 8)); net(torch.full((1, 3, 8, 8), 200.0))
assert seen[0].mean().abs() < 1e-4 and abs(seen[0].std() - 1) < 1e-2
assert seen[1].abs().max() < 0.1
""",
    "probabilities-to-logits": """
x = torch.tensor([[3.0, -1.0]])
assert torch.equal(torch.nn.Softmax(dim=1)(x), x) and torch.equal(torch.softmax(x, dim=1), x)
""",
    "weights-removed": """
x, y = torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([0, 0])
a = torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 9.0]))(x, y)
assert torch.equal(a, torch.nn.CrossEntropyLoss()(x, y))
""",
    "shuffled": """
data = torch.utils.data.TensorDataset(torch.arange(64))
(batch,) = next(iter(torch.utils.data.DataLoader(data, batch_size=64)))
assert not torch.equal(batch, torch.arange(64)) and len(batch.unique()) == 64
""",
    "balanced-batches": """
y = torch.tensor([0] * 90 + [1] * 10); data = torch.utils.data.TensorDataset(y, y)
drawn = torch.cat([b for _, b in torch.utils.data.DataLoader(data, batch_size=50, shuffle=True)])
assert 25 <= int(drawn.sum()) <= 75
""",
    "statistics-anew": """
net = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1, momentum=0.0))
net.train()
for _ in range(3): net(5 + torch.randn(8, 1, 4, 4))
assert net[1].running_mean.item() == 0.0
net.eval()
assert not net.training and net[1].running_mean.item() != 0.0 and net[1].momentum == 0.0
assert net(5 + torch.randn(8, 1, 4, 4)).mean().abs() < 0.5
""",
    "initialised-anew": """
net = torch.nn.Sequential(torch.nn.Linear(50, 50), torch.nn.ReLU(), torch.nn.Linear(50, 50))
torch.nn.init.zeros_(net[0].weight)
net(torch.ones(1, 50)); first = net[0].weight.clone(); net(torch.ones(1, 50))
assert 0.1 < first.std() < 0.3 and torch.equal(first, net[0].weight)
assert 0.01 < net[2].weight.std() < 0.03
""",
    "rate-capped": """
w = torch.nn.Parameter(torch.zeros(1)); o = torch.optim.SGD([w], lr=1.0)
moved = []
for lr in (1.0, 2.0, 9.0):
    o.param_groups[0]["lr"] = lr; o.zero_grad(); w.sum().backward(); o.step()
    moved.append(w.item())
assert moved == [-1.0, -3.0, -4.0]
""",
    "hidden-relu": """
made = [torch.nn.Linear(4, 4), torch.nn.Sigmoid(), torch.nn.Linear(4, 2), torch.nn.Sigmoid()]
net = torch.nn.Sequential(*made); net(torch.ones(1, 4))
assert type(net[1]) is torch.nn.ReLU and type(net[3]) is torch.nn.Sigmoid
""",
    "batchnorm-added": """
net = torch.nn.Conv2d(1, 4, 3)
assert len(list(net.parameters())) == 4 and net(7 + torch.randn(9, 1, 8, 8)).mean().abs() < 1e-5
""",
}


def test_remedies_do_what_they_say(bench):
    """One process imports torch; each remedy is tried in a fork of it."""
    cases = {
        name: bench.remedied.with_changes(f'"""One."""\nimport torch\n{trial}', [name])
        for name, trial in REMEDY_TRIALS.items()
    }
    driver = (
        "import json, os, sys, torch\n"
        "failed = []\n"
        "for name, text in json.load(sys.stdin).items():\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        try:\n"
        "            exec(compile(text, name, 'exec'), {})\n"
        "        except BaseException:\n"
        "            import traceback; traceback.print_exc(); os._exit(1)\n"
        "        os._exit(0)\n"
        "    failed += [name] if os.waitpid(child, 0)[1] else []\n"
        "sys.exit(', '.join(failed) or 0)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", driver], input=json.dumps(cases), text=True, capture_output=True
    )
    assert told.returncode == 0, told.stderr


# -- what is measured and reported -----------------------------------------------------------------


def test_a_diagnosis_is_read_in_its_order(bench, tmp_path):
    pair = {"change": "a + b", "causes": ["dead-units", "batch-mixed"]}
    written = {
        "causes": [
            {"id": "dead-units", "rank": 1, "proved": True, "trial": pair},
            {"id": "non-finite", "rank": 2, "proved": False, "trial": None},
        ],
        "checks": [
            {"outcome": "pass", "cause": None},
            {"outcome": "issue", "cause": "non-finite"},
            {"outcome": "issue", "cause": "batch-mixed"},
            {"outcome": "issue", "cause": "non-finite"},
        ],
        "trials": [pair],
        "excluded": {"adam": "The budget was spent.", "float32": "Weights are in float32."},
        "seconds": 3.5,
    }
    (tmp_path / "diagnosis.json").write_text(json.dumps(written))
    told = bench.measure.read_diagnosis(tmp_path / "diagnosis.json")
    assert told["checks"] == ["non-finite", "batch-mixed"]
    assert [one["id"] for one in told["named"]] == ["dead-units", "non-finite"]
    assert (told["trials"], told["excluded"]) == (1, ["float32"])
    answer = bench.measure._answer(told["named"], {})
    assert answer == [("dead-units", "a"), ("batch-mixed", "b")]
    second = bench.measure._answer(told["named"][1:], {"non-finite": "float32"})
    assert second == [("non-finite", "float32")]
    two = [
        {"id": "dead-units", "change": "", "proved": False, "causes": []},
        {"id": "non-finite", "change": "adam", "proved": True, "causes": ["non-finite"]},
    ]
    assert bench.measure._answer(two, {}) == [("dead-units", "")]
    assert bench.measure._answer(two, {}, most=2) == [("dead-units", ""), ("non-finite", "adam")]
    assert bench.measure.read_diagnosis(tmp_path / "none.json")["named"] == []


def truth(outcome, val=0.9):
    return {"outcome": outcome, "reason": "r", "train": val, "val": val}


def row(n, *, named=("dead-units",), restored=True, held=False, **more):
    """A faulty training that counts, whose cause is dead-units."""
    twin = {"name": f"t{n}", "truth": truth("sound"), "alarmed": False, "verdict": "healthy"}
    usual = {
        "key": f"dead-units/{n}",
        "kind": "one",
        "causes": ["dead-units"],
        "guises": [f"g{n}"],
        "accepts": [["dead-units", "poor-initialisation"]],
        "held_out": held,
        "images": "digits",
        "network": "mlp",
        "herring": "",
        "truth": truth("broken", 0.1),
        "alarmed": True,
        "begins": 0,
        "alarm_step": 40,
        "verdict": "collapsed",
        "diagnosed": True,
        "checks": [],
        "named": [{"id": one, "proved": True} for one in named],
        "trial_seconds": 5.0,
        "seconds": 9.0,
        "seconds_in_all": 20.0,
        "cpu_seconds_in_all": 18.0,
        "broke": True,
        "alone": {},
        "twin": {**twin, "named": []},
        "repair": {"how": "applied", "restored": restored},
        "tutorial": {"restored": False},
    }
    return {**usual, **more}


def test_figures_of_the_report(bench):
    rows = [
        row(1),
        row(2, named=("poor-initialisation",), held=True),  # accepted
        row(3, named=("batch-mixed", "dead-units"), restored=False, checks=["dead-units"]),
        row(4, named=(), alarmed=False, alarm_step=None, restored=False),
        row(5, broke=False),  # did no harm: counts for nothing
    ]
    text = bench.causes_report.report(rows)
    assert "| trials and checks | all | 2 of 4 = 50.0% (15.0% to 85.0%) | 3 of 4 = 75.0%" in text
    assert "| trials and checks | held out | 1 of 1" in text
    assert "| checks alone | all | 1 of 4 = 25.0%" in text
    assert "| tutorial's advice | all | 0 of 4 = 0.0%" in text
    assert "| detected | 3 of 4 = 75.0%" in text
    assert "Called proved and not among the accepted: 1 of 3" in text
    assert "| one fault | all | 2 of 4 = 50.0%" in text
    assert "| dead-units | 1 | 1 poor-initialisation (accepted), 1 batch-mixed, 1 (none) |" in text
    assert "median 40" in text
    assert bench.causes_report.report([]) == "No results."


def test_two_faults_count_when_both_are_named(bench):
    accepts = [["dead-units"], ["batch-mixed"]]
    rows = [
        row(n, kind="two", causes=["dead-units", "batch-mixed"], accepts=accepts, named=named)
        for n, named in enumerate(
            (("batch-mixed", "dead-units"), ("dead-units", "non-finite"), ("non-finite",))
        )
    ]
    text = bench.causes_report.report(rows)
    line = next(line for line in text.splitlines() if line.startswith("| trials and checks | all"))
    assert "2 of 3" in line.split("|")[3]
    assert "1 of 3" in line.split("|")[4]


def test_of_two_faults_each_must_break_it_alone(bench):
    one = row(1, alone={"a": "broken", "b": "broken"})
    assert bench.measure._broke(one)
    assert not bench.measure._broke(dict(one, alone={"a": "broken", "b": "sound"}))
    bad_twin = dict(one, twin={"truth": truth("between")})
    assert not bench.measure._broke(bad_twin)


@pytest.mark.parametrize("way", ["diagnose", "watch"])
def test_scripts_that_call_the_library_leave_the_same_files(bench, plans, way, tmp_path):
    texts = (
        bench.by_calls.with_calls(plan.faulty(), way, budget=1)
        for plan in of_kind(plans, "one")
        if (plan.at.images, plan.base.script, plan.at.network) == ("digits", "plain", "mlp")
    )
    (tmp_path / "train.py").write_text(next(text for text in texts if text is not None))
    told = subprocess.run(
        [sys.executable, "train.py", "--epochs", "2"], cwd=tmp_path, text=True, capture_output=True
    )
    assert told.returncode == 0, told.stderr
    found = json.loads((tmp_path / "watch" / "findings.json").read_text())
    assert found["step"] > 40
    ill = found["verdict"] != "healthy"
    assert (tmp_path / "watch" / "diagnosis.json").exists() == ill
    assert bool(found["checks"]) == ill


def test_a_script_without_a_loop_of_its_own_cannot_call(bench, plans):
    fits = Counter(
        (plan.base.script, bench.by_calls.with_calls(plan.faulty(), "watch", budget=1) is not None)
        for plan in plans
    )
    assert fits["plain", True] > 20
    assert fits["lightning_fit", True] == fits["hf_trainer", True] == 0
