"""A script that uses the library itself, in one of the two ways there are:

- "diagnose": a `Monitor` in its loop, told of each pass; `everyclass.diagnose` at its end, which
  knows nothing of the loop but what it is given.
- "watch": `everyclass.watch` around its loop, and `everyclass.diagnose_case` of what it captured.

Comes in: the text of a script, of those bases whose loop is written out in one place. Goes out: the
text with a few lines more, which leaves the same files as `everyclass run --out watch` does; None
where a fault has changed the lines that these stand beside. Runs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

END = 'print("train confusion:"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """A base script's loop.

    Args:
        loop: the line before which the monitor is made.
        step: the line of one pass behind which the monitor is told of it.
        outputs, targets: their names there.
        call: how the loss is called there; the diagnosis is given its function.
        batches, evaluation: what the diagnosis draws from.
    """

    loop: str
    step: str
    outputs: str
    targets: str
    call: str
    batches: str
    evaluation: str


LOOPS = (
    Loop(
        loop="for epoch in range(args.epochs):",
        step="running_loss += loss.item()",
        outputs="outputs",
        targets="targets",
        call="loss = criterion(outputs, targets)",
        batches="train_loader",
        evaluation="val_loader",
    ),
    Loop(
        loop="for step in range(1, args.steps + 1):",
        step="scheduler.step()",
        outputs="logits",
        targets="y",
        call="loss = criterion(logits, y)",
        batches="[next(stream) for _ in range(64)]",
        evaluation="zip(x_val.split(args.batch_size), y_val.split(args.batch_size))",
    ),
    Loop(
        loop="trainer.fit(train_loader, val_loader, args.epochs)",
        step="self.optimizer.step()",
        outputs="logits",
        targets="labels",
        call="loss = self.criterion(logits, labels)",
        batches="train_loader",
        evaluation="val_loader",
    ),
)

Way = Literal["diagnose", "watch"]

WATCH_BEGINNING = """\
import contextlib, json, os, everyclass
stack = contextlib.ExitStack()
watching = stack.enter_context(everyclass.watch(model, optimizer))
"""
WATCH_ENDING = """\
stack.close()
summary, case = watching.summary(), watching.case()
told = {{**summary.to_dict(), "checks": []}}
os.makedirs("watch")
if summary.verdict != "healthy" and case is not None:
    diagnosis = everyclass.diagnose_case(
        case, verdict=summary.verdict, findings=summary.findings, budget_seconds={budget:g}
    )
    told["checks"] = diagnosis.to_dict()["checks"]
    with open("watch/diagnosis.json", "w") as file:
        json.dump(diagnosis.to_dict(), file)
with open("watch/findings.json", "w") as file:
    json.dump(told, file)
"""

BEGINNING = """\
import copy, json, os, everyclass
monitor = everyclass.Monitor(model=model, optimizer=optimizer)
initial_state = copy.deepcopy(model.state_dict())
"""
PASS = "monitor.step({outputs}, {targets}, loss)\n"
ENDING = """\
summary = monitor.summary(ended=True)
told = {{**summary.to_dict(), "checks": []}}
os.makedirs("watch")
if summary.verdict != "healthy":
    diagnosis = everyclass.diagnose(
        model, {batches}, criterion, optimizer, evaluation_batches={evaluation},
        initial_state=initial_state, steps=monitor.steps, verdict=summary.verdict,
        budget_seconds={budget:g},
    )
    told["checks"] = diagnosis.to_dict()["checks"]
    with open("watch/diagnosis.json", "w") as file:
        json.dump(diagnosis.to_dict(), file)
with open("watch/findings.json", "w") as file:
    json.dump(told, file)
"""


def with_calls(script: str, way: Way, *, budget: float) -> str | None:
    """The script with the library's calls.

    Args:
        way: see the module's docstring.
        budget: seconds for trials.
    """
    for loop in LOOPS:
        ends = [line.strip() for line in script.splitlines() if line.strip().startswith(END)]
        anchors = (loop.loop, loop.step, loop.call)
        if len(ends) != 1 or any(_lines(script, one) != 1 for one in anchors):
            continue
        if "optimizer = " not in script:  # it descends by hand, and the calls take an optimizer
            continue
        if way == "watch":
            script = _beside(script, loop.loop, WATCH_BEGINNING, after=False)
            return _beside(script, ends[0], WATCH_ENDING.format(budget=budget), after=False)
        told = PASS.format(outputs=loop.outputs, targets=loop.targets)
        script = _beside(script, loop.loop, BEGINNING, after=False)
        script = _beside(script, loop.step, told, after=True)
        ending = ENDING.format(batches=loop.batches, evaluation=loop.evaluation, budget=budget)
        return _beside(script, ends[0], ending, after=False)
    return None


def _lines(script: str, wanted: str) -> int:
    return sum(line.strip() == wanted for line in script.splitlines())


def _beside(script: str, wanted: str, text: str, *, after: bool) -> str:
    """Lines before or after the line, indented as it is."""
    found = []
    for line in script.splitlines():
        if line.strip() == wanted:
            head = line[: len(line) - len(line.lstrip())]
            added = [head + one for one in text.splitlines()]
            found += [line, *added] if after else [*added, line]
        else:
            found.append(line)
    return "\n".join(found) + "\n"
