"""One plan carried out: its twin, its faulty script under `everyclass run`, its repair.

Comes in: a `Plan`. Goes out: one row of results. Each script runs in a fork of a process that has
imported torch once; all that is read of it is what it printed and the files that
`everyclass run --out` left. What a run came to is told by `truth`; what was right is told by the
guises' accepted causes, fixed beforehand; neither is known to the run.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from by_calls import Way, with_calls
from matrix import Fault, Plan
from registry import Cell
from remedied import TUTORIAL, remedied, with_changes
from run import begins, forked, read_findings
from truth import Truth, truth_of

RESTORED_SHARE = 0.95
"""Of the healthy twin's balanced accuracy on validation images: what a repair has to reach."""

Row = dict[str, Any]


@dataclass(slots=True)
class Bench:
    """What the runs of one process share.

    Attributes:
        images: folder that scripts read.
        scratch: folder for their working folders.
        budget: seconds for trials.
        time_limit: seconds for one script.
        keep: where the folders of runs that deserve a look are copied; None for nowhere.
        default_changes: cause -> the change that stands for it when no trial named one.
        twins: what healthy twins came to, by their text and seed; several plans share one.
        calls: how watched scripts call the library themselves; None for `everyclass run`.
    """

    images: Path
    scratch: Path
    budget: float
    time_limit: float
    default_changes: Mapping[str, str]
    keep: Path | None = None
    twins: dict[str, Row] = field(default_factory=dict)
    calls: Way | None = None


def measured(plan: Plan, bench: Bench) -> Row:
    """The row of a plan."""
    begun, used = time.monotonic(), _cpu_seconds()
    faulty = _run(plan.faulty(), plan.seed, bench, watched=True, keep=_keeper(plan, bench))
    row: Row = {
        "key": plan.key,
        "kind": plan.kind,
        "causes": [fault.cause for fault in plan.faults],
        "guises": [fault.guise.name for fault in plan.faults] or [plan.base.name],
        "accepts": [list(fault.accepts) for fault in plan.faults],
        "held_out": plan.held_out,
        "base": plan.base.script,
        "images": plan.at.images,
        "network": plan.at.network,
        "herring": plan.herring,
        "seed": plan.seed,
        "budget": bench.budget,
        "begins": _begins(plan, faulty),
        **faulty,
    }
    if plan.faults:
        row["twin"] = _twin(plan, bench)
        row["alone"] = _alone(plan, bench)
        row["broke"] = _broke(row)
        if row["broke"]:
            row["repair"] = _repair(plan, row, bench)
            row["tutorial"] = _tutorial(plan, row, bench)
    row["seconds_in_all"] = round(time.monotonic() - begun, 2)
    row["cpu_seconds_in_all"] = round(_cpu_seconds() - used, 2)
    return row


def _broke(row: Row) -> bool:
    """The twin is sound and the faulty script is not; of two faults each breaks it alone."""
    return (
        row["twin"]["truth"]["outcome"] == "sound"
        and row["truth"]["outcome"] == "broken"
        and all(one == "broken" for one in row["alone"].values())
    )


def _twin(plan: Plan, bench: Bench) -> Row:
    text = plan.twin()
    name = hashlib.sha256(f"{text}{plan.seed}".encode()).hexdigest()[:16]
    if name not in bench.twins:
        bench.twins[name] = {"name": name, **_run(text, plan.seed, bench, watched=True)}
    return bench.twins[name]


def _alone(plan: Plan, bench: Bench) -> dict[str, str]:
    """Outcomes with one of two faults put right: both must still be broken."""
    if len(plan.faults) < 2:
        return {}
    return {
        fault.guise.name: _run(plan.script((fault,)), plan.seed, bench)["truth"]["outcome"]
        for fault in plan.faults
    }


# -- repair ----------------------------------------------------------------------------------------


def _repair(plan: Plan, row: Row, bench: Bench) -> Row:
    # Without an experiment, or where a change cannot be made, a cause's usual change says nothing.
    left_out = set(row["excluded"]) if row["trials"] else set(bench.default_changes.values())
    usual = {k: one for k, one in bench.default_changes.items() if one not in left_out}
    answer = _answer(row["named"], usual, most=len(plan.faults))
    proposal = remedied(plan, answer)
    told: Row = {"how": proposal.how, "changes": list(proposal.changes), "restored": False}
    if proposal.script is None:
        return told
    if proposal.script == plan.twin():
        return {**told, "val": row["twin"]["truth"]["val"], "restored": True}
    return {**told, **_restored(proposal.script, plan, row, bench)}


def _tutorial(plan: Plan, row: Row, bench: Bench) -> Row:
    return _restored(with_changes(plan.faulty(), TUTORIAL), plan, row, bench)


def _restored(script: str, plan: Plan, row: Row, bench: Bench) -> Row:
    outcome = _run(script, plan.seed, bench)
    val, wanted = outcome["truth"]["val"], RESTORED_SHARE * row["twin"]["truth"]["val"]
    told: Row = {"val": val, "restored": val is not None and val >= wanted}
    return {**told, "error": outcome["error"]} if "error" in outcome else told


def _answer(
    named: Sequence[Mapping[str, Any]], default_changes: Mapping[str, str], *, most: int = 1
) -> list[tuple[str, str]]:
    """(cause, change) of the first causes, as many as there are faults; of a pair of changes that
    cured together, both."""
    found: list[tuple[str, str]] = []
    for one in named:
        changes = one["change"].split(" + ") if one["change"] else []
        if len(found) >= most or any(one["id"] == cause for cause, _ in found):
            continue
        if len(changes) > 1 and one["proved"]:
            found += zip(one["causes"], changes)
        else:
            change = changes[0] if len(changes) == 1 else default_changes.get(one["id"], "")
            found.append((one["id"], change))
    return found


# -- one script ------------------------------------------------------------------------------------


def _run(
    text: str,
    seed: int,
    bench: Bench,
    *,
    watched: bool = False,
    keep: Callable[[Path, Row], None] | None = None,
) -> Row:
    """What came of a script: its truth, and what was said about it when it was watched."""
    folder = Path(tempfile.mkdtemp(dir=bench.scratch))
    if watched and bench.calls is not None:
        called = with_calls(text, bench.calls, budget=bench.budget)
        assert called is not None, "chosen without looking"
        text = called
    (folder / "train.py").write_text(text)
    script = ["train.py", "--root", str(bench.images), "--seed", str(seed)]
    watch = ["run", "--out", "watch", "--budget", f"{bench.budget:g}", *script]
    begun = time.monotonic()
    child = multiprocessing.get_context("fork").Process(
        target=forked, args=(folder, watch if watched and bench.calls is None else script)
    )
    child.start()
    child.join(bench.time_limit)
    if child.is_alive():
        child.kill()
        child.join()
    truth = truth_of((folder / "stdout").read_text(errors="replace"))
    row: Row = {
        "truth": asdict(truth),
        "code": child.exitcode,
        "seconds": round(time.monotonic() - begun, 2),
    }
    if child.exitcode:
        row["error"] = (folder / "stderr").read_text(errors="replace")[-600:]
    if watched:
        row |= read_findings(folder / "watch" / "findings.json")
        row |= read_diagnosis(folder / "watch" / "diagnosis.json")
    if keep is not None:
        keep(folder, row)
    shutil.rmtree(folder)
    return row


def read_diagnosis(path: Path) -> Row:
    """Causes in their order, what checks alone accuse in theirs, seconds of trials."""
    if not path.exists():
        return {
            "diagnosed": False,
            "named": [],
            "checks": [],
            "trial_seconds": 0.0,
            "trials": 0,
            "excluded": [],
        }
    told = json.loads(path.read_text())
    named = []
    for one in told["causes"]:
        trial = one["trial"] or {}
        named.append(
            {
                "id": one["id"],
                "rank": one["rank"],
                "proved": one["proved"],
                "change": trial.get("change", ""),
                "causes": trial.get("causes", []),
            }
        )
    accused = [one["cause"] for one in told["checks"] if one["outcome"] == "issue"]
    return {
        "diagnosed": True,
        "named": named,
        "checks": list(dict.fromkeys(accused)),
        "trial_seconds": told["seconds"],
        "trials": len(told["trials"]),
        "excluded": sorted(
            name for name, why in told["excluded"].items() if "budget" not in why.lower()
        ),
    }


def _keeper(plan: Plan, bench: Bench) -> Callable[[Path, Row], None] | None:
    """Keeps the folder of a faulty run whose first cause is not right."""
    if bench.keep is None or not plan.faults:
        return None
    right = {cause for fault in plan.faults for cause in fault.accepts}
    target = bench.keep / hashlib.sha256(plan.key.encode()).hexdigest()[:12]

    def keep(folder: Path, row: Row) -> None:
        first = row["named"][0]["id"] if row["named"] else ""
        if row["truth"]["outcome"] == "broken" and first not in right:
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.pt", "*.npy"))
            (target / "key").write_text(plan.key + "\n")

    return keep


def _begins(plan: Plan, row: Row) -> int:
    """The step from which a fault acts: of two, the earlier."""
    if not plan.faults:
        return 0
    truth = Truth(**row["truth"])
    return min(begins(_cell(fault, plan), truth) for fault in plan.faults)


def _cell(fault: Fault, plan: Plan) -> Cell:
    guise = replace(fault.guise, script=plan.base.script)
    return Cell(cause=fault.cause, guise=guise, at=plan.at, seed=plan.seed)


def _cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
