"""`everyclass run` as a user types it, and its parts in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch.nn.functional as F

from everyclass.capture.execute import Target
from everyclass.errors import InputError
from everyclass.workflows.run_script import RunOptions, run_script

SCRIPTS = Path(__file__).parents[1] / "capture" / "scripts"

STUCK = """
import sys
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
nn.init.constant_(model[1].bias, 0.0)
with torch.no_grad():
    model[1].weight.zero_()
    model[1].bias[2] = 0.5
optimizer = torch.optim.SGD(model.parameters(), lr=1e-12)
try:
    for step in range(int(sys.argv[1])):
        pixels, labels = torch.randn(32, 1, 8, 8), torch.randint(0, 4, (32,))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(pixels), labels)
        loss.backward()
        optimizer.step()
        print(step)
        if step == int(sys.argv[1]) - 1 and "--hard" in sys.argv:
            import os
            sys.stdout.flush()
            os._exit(7)
except Exception:
    print("a script may catch what it likes")
finally:
    print("cleaned up")
"""


def everyclass(
    arguments: Sequence[str], folder: Path, *, unwatched: bool = False
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(() if unwatched else ("-m", "everyclass", "run")), *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(autouse=True)
def _no_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    # In this process only: the checks take seconds and have tests of their own.
    monkeypatch.setattr("everyclass.diagnosis.check.check_case", lambda case: ())


def write(folder: Path, text: str, name: str = "script.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_script_sees_what_python_would_show_it(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    write(tmp_path / "own", "VALUE = 5\n", "beside.py")
    write(
        tmp_path / "own",
        """
import os, sys
import beside
print(__name__, sys.argv, os.path.basename(__file__), sys.path[0] == os.path.dirname(__file__))
print(os.getcwd(), beside.VALUE, __spec__, sys.modules["__main__"].beside is beside)
print("torch" in sys.modules)

def inner():
    raise ValueError("no such thing")

try:
    print(int("x"))
except ValueError:
    inner()
""",
        "script.py",
    )
    arguments = ["own/script.py", "--help", "--out", "there", "-m"]
    alone = everyclass(arguments, tmp_path, unwatched=True)
    watched = everyclass(["--quiet", *arguments], tmp_path)
    assert watched.stdout == alone.stdout
    assert "torch" not in alone.stderr
    assert watched.stderr == alone.stderr
    assert (watched.returncode, alone.returncode) == (1, 1)


def test_a_module_and_its_package_run_as_with_python_m(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    write(package, "", "__init__.py")
    write(package, "from . import part\nprint(__spec__.name, part.VALUE)\n", "__main__.py")
    write(package, "import sys\nVALUE = sys.argv[1:]\n", "part.py")
    alone = everyclass(["-m", "package", "--json", "x"], tmp_path, unwatched=True)
    watched = everyclass(["--json", "seen.json", "-m", "package", "--json", "x"], tmp_path)
    assert watched.stdout == alone.stdout
    assert watched.returncode == 0
    report = json.loads((tmp_path / "seen.json").read_text())
    assert report["verdict"] is None
    assert "never loaded torch" in report["sentence"]
    assert "Nothing was watched" in watched.stderr


@pytest.mark.parametrize(
    ("text", "code", "ended"),
    [
        ("import sys\nsys.exit(3)\n", 3, "exit 3"),
        ("import sys\nsys.exit('gone')\n", 1, "exit 1"),
        ("raise KeyboardInterrupt\n", 130, "interrupted"),
        ("def broken(:\n", 1, "SyntaxError: invalid syntax (script.py, line 1)"),
        ("raise RuntimeError('out of luck\\nand more')\n", 1, "RuntimeError: out of luck"),
        ("print('done')\n", 0, "finished"),
    ],
)
def test_exit_codes_are_the_scripts_own(
    text: str, code: int, ended: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run_script(Target(name=str(write(tmp_path, text))), RunOptions())
    assert outcome.code == code
    assert outcome.report.ended == ended
    assert "everyclass" not in capsys.readouterr().err


def test_a_traceback_shows_the_script_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = write(
        tmp_path,
        "import torch\n"
        "torch.nn.functional.cross_entropy(torch.zeros(2, 3), torch.tensor([0, 7]))\n",
    )
    outcome = run_script(Target(name=str(script)), RunOptions())
    shown = capsys.readouterr().err
    assert outcome.report.ended.startswith("IndexError")
    assert "capture" not in shown
    assert f'File "{script}", line 2' in shown


def test_a_collapse_is_told_at_once_and_stops_the_script(tmp_path: Path) -> None:
    write(tmp_path, STUCK)
    done = everyclass(["--stop-on-collapse", "--out", "seen", "script.py", "20000"], tmp_path)
    assert done.returncode == 1
    printed = done.stdout.splitlines()
    assert printed[-1] == "cleaned up"
    assert "a script may catch" not in done.stdout
    report = json.loads((tmp_path / "seen" / "findings.json").read_text())
    assert report["verdict"] == "collapsed"
    assert report["ended"].startswith("stopped at step ")
    assert report["findings"][0]["severity"] == "alarm"
    assert len(printed) - 1 <= report["step"] + 1 < 2000
    assert "\x1b[" not in done.stderr
    assert done.stderr.splitlines()[0].startswith("everyclass: collapsed at step ")


def test_what_was_seen_survives_a_hard_exit(tmp_path: Path) -> None:
    write(tmp_path, STUCK)
    done = everyclass(["--out", "seen", "script.py", "40", "--hard"], tmp_path)
    assert done.returncode == 7
    assert "cleaned up" not in done.stdout
    report = json.loads((tmp_path / "seen" / "findings.json").read_text())
    assert report["ended"] == "os._exit"
    assert report["watched"]["training_passes"] >= 39


def test_check_only_ends_after_two_steps_and_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = []

    def checked(case: object) -> tuple[()]:
        cases.append(case)
        return ()

    monkeypatch.setattr("everyclass.diagnosis.check.check_case", checked)
    out = tmp_path / "seen"
    outcome = run_script(
        Target(name=str(SCRIPTS / "plain_loop.py")), RunOptions(out=out, check_only=True)
    )
    assert outcome.code == 0
    assert outcome.report.step == 2
    assert outcome.report.ended == "stopped after 2 steps to check"
    assert cases == [outcome.case]
    assert json.loads((out / "findings.json").read_text())["step"] == 2


def test_strict_fails_where_a_problem_was_found(tmp_path: Path) -> None:
    write(tmp_path, STUCK)
    done = everyclass(["--strict", "--quiet", "script.py", "400"], tmp_path)
    assert done.returncode == 1
    assert "collapsed" not in done.stderr


TOO_SLOW = """
import torch
from torch import nn

torch.manual_seed(0)
patterns = torch.randn(4, 1, 8, 8)
labels = torch.arange(1600) % 4
labels = labels[torch.randperm(1600)]
pixels = patterns[labels] + 0.5 * torch.randn(1600, 1, 8, 8)
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-7)
data = torch.utils.data.TensorDataset(pixels, labels)
for epoch in range(12):
    for x, y in torch.utils.data.DataLoader(data, batch_size=32, shuffle=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
"""


def test_a_cause_is_proved_and_written_down(tmp_path: Path) -> None:
    write(tmp_path, TOO_SLOW)
    done = everyclass(["--budget", "60", "--out", "seen", "script.py"], tmp_path)
    assert done.returncode == 0
    told = json.loads((tmp_path / "seen" / "diagnosis.json").read_text())
    assert told["verdict"] in ("not-learning", "collapsed")
    answer = told["causes"][0]
    assert (answer["id"], answer["rank"], answer["proved"]) == ("learning-rate-too-low", 1, True)
    trial = answer["trial"]
    assert trial["control"] < 0.5 < trial["changed"]
    assert trial["ci95"][0] > 0
    assert set(told["overhead"]) == {"seconds", "fraction"}
    assert "1. learning-rate-too-low proved" in done.stderr
    # No multiple of that rate suffices; what does is named with the line that it belongs to.
    assert told["remedies"][0]["code"] == (
        "script.py:11: torch.optim.Adam(model.parameters(), lr=1e-3)"
    )


IDS_AS_PROBABILITIES = """
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(40):
    optimizer.zero_grad()
    labels = torch.randint(0, 6, (32, 1)).float()
    nn.functional.binary_cross_entropy_with_logits(model(torch.randn(32, 64)), labels).backward()
    optimizer.step()
"""


def test_a_loss_without_a_minimum_is_named_though_no_trial_can_begin(tmp_path: Path) -> None:
    write(tmp_path, IDS_AS_PROBABILITIES)
    done = everyclass(["--out", "seen", "script.py"], tmp_path)
    told = json.loads((tmp_path / "seen" / "diagnosis.json").read_text())
    assert told["verdict"] == "diverged"
    assert [one["id"] for one in told["causes"]] == ["loss-mismatch"]
    assert told["remedies"][0]["sentence"].startswith("Give the network one output a class")
    assert "the cause is loss-mismatch (a fact, which needs" in done.stderr


def test_no_trial_is_made_without_a_budget(tmp_path: Path) -> None:
    write(tmp_path, STUCK)
    done = everyclass(["--budget", "0", "--out", "seen", "script.py", "400"], tmp_path)
    assert "collapsed" in done.stderr
    assert "trials" not in done.stderr
    assert not (tmp_path / "seen" / "diagnosis.json").exists()


SPAWNING = """
import multiprocessing
import torch
from torch import nn

print("loading", __name__)


def work(queue):
    layer = nn.Linear(2, 2)
    loss = nn.functional.cross_entropy(layer(torch.ones(3, 2)), torch.tensor([0, 1, 0]))
    queue.put((float(loss) > 0, type(nn.functional.cross_entropy).__name__,
               nn.functional.cross_entropy.__code__.co_filename.count("capture")))


if __name__ == "__main__":
    for method in ("spawn", "fork"):
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        process = context.Process(target=work, args=(queue,))
        process.start()
        print(method, queue.get(timeout=100)[0])
        process.join()
        print(process.exitcode)
"""


def test_processes_that_a_script_starts_work_and_are_not_watched(tmp_path: Path) -> None:
    write(tmp_path, SPAWNING)
    alone = everyclass(["script.py"], tmp_path, unwatched=True)
    watched = everyclass(["--json", "seen.json", "script.py"], tmp_path)
    assert watched.stdout == alone.stdout
    assert watched.returncode == alone.returncode == 0
    report = json.loads((tmp_path / "seen.json").read_text())
    assert report["verdict"] is None
    assert "none of torch's losses was called" in report["sentence"]


def test_a_regression_says_why_it_was_not_watched(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        """
import torch
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(5):
    loss = torch.nn.functional.mse_loss(model(torch.randn(8, 4)), torch.randn(8, 1))
    loss.backward()
    optimizer.step()
""",
    )
    report = run_script(Target(name=str(script)), RunOptions()).report
    assert report.verdict is None
    assert "losses called: mse_loss (5)" in report.sentence
    assert "1 optimizer made, 5 steps taken" in report.sentence
    assert "numbers, not classes" in report.sentence


def test_what_cannot_be_run_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    original = F.cross_entropy
    with pytest.raises(InputError, match=r"There is no script nowhere\.py"):
        run_script(Target(name="nowhere.py"), RunOptions())
    with pytest.raises(InputError, match="is a folder"):
        run_script(Target(name=str(tmp_path)), RunOptions())
    with pytest.raises(InputError, match="There is no module nothing_like_it"):
        run_script(Target(name="nothing_like_it", is_module=True), RunOptions())
    file = write(tmp_path, "", "file.txt")
    with pytest.raises(InputError, match="not a folder"):
        run_script(Target(name=str(file)), RunOptions(out=file))
    assert F.cross_entropy is original


def test_of_a_distributed_training_the_first_process_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    script = write(tmp_path, "import sys\nsys.exit(4)\n")
    outcome = run_script(Target(name=str(script)), RunOptions(out=tmp_path / "seen"))
    assert outcome.code == 4
    assert "process 1 of a distributed training" in outcome.report.sentence
    assert not (tmp_path / "seen").exists()
