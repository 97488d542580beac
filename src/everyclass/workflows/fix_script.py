"""A patched copy of somebody's script, run again: `everyclass run --fix`.

Comes in: what to run, and after the run its `RunOutcome`. Goes out: the copy with the changes that
trials proved, as a diff; and what the copy showed beside what the script had shown. The script
itself is read and never written.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from everyclass.capture.execute import Target, script_file
from everyclass.diagnoses import Diagnosis, Trial
from everyclass.errors import InputError
from everyclass.fixing.patch import difference, is_ours, marked, patched
from everyclass.fixing.source import NotEditable
from everyclass.run_folder import write_atomically
from everyclass.workflows.run_script import RunOutcome

STANDARD_ERROR = 2
LEAST_ADVANTAGE = 0.2
"""Of balanced accuracy over chance, as a share of what is possible, from which a copy is said to
train although the watch has not called it learned: twice what a trial asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixPlan:
    """What was there before the script ran, which may change all of it.

    Attributes:
        target: what is run.
        script: its file.
        text, encoding: of the file.
        copy: where the patched copy goes.
        copy_name: that runs it, as `Target.name`.
        folder, environment: that the script was started with.
    """

    target: Target
    script: Path
    text: str
    encoding: str
    copy: Path
    copy_name: str
    folder: Path
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patched:
    """A copy that was written, or why none was.

    Attributes:
        copy: None when there is nothing to write.
        causes: proved ones that it answers.
        sentences: what each edit does.
        difference: unified diff, "" without a copy.
        refused: for a person, causes that got no edit and why.
        remedies: what to do by hand for the refused ones.
    """

    copy: Path | None = None
    causes: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    difference: str = ""
    refused: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one run of a script showed. None where it is not known.

    Attributes:
        ended: how it ended.
        verdict: of the watch.
        step: optimizer steps.
        phase: of the monitor: nothing-seen, opening or learned.
        judged_on: "last evaluation" or "recent training batches".
        balanced_accuracy: mean recall of the classes with images.
        lowest_recall: of them.
        lowest_class: whose it is.
        predicted: classes that were predicted at all.
        classes: that there are.
        recalls: by class name; None for a class without images.
    """

    ended: str
    verdict: str | None
    step: int
    phase: str = ""
    judged_on: str = ""
    balanced_accuracy: float | None = None
    lowest_recall: float | None = None
    lowest_class: str = ""
    predicted: int | None = None
    classes: int | None = None
    recalls: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def learns(self) -> bool:
        """Nothing is wrong, and the predictions were seen to tell the classes apart."""
        if self.verdict != "healthy" or self.balanced_accuracy is None or not self.classes:
            return self.verdict == "healthy" and self.phase == "learned"
        chance = 1 / self.classes
        advantage = (self.balanced_accuracy - chance) / (1 - chance) if chance < 1 else 0.0
        return self.phase == "learned" or advantage >= LEAST_ADVANTAGE

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A script before, and its copy after.

    Attributes:
        patched: the copy.
        before, after: what both showed, on the same kind of images.
    """

    patched: Patched
    before: Seen
    after: Seen

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "copy": str(self.patched.copy),
            "causes": list(self.patched.causes),
            "edits": list(self.patched.sentences),
            "diff": self.patched.difference,
            "refused": list(self.patched.refused),
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
        }


# -- before the run --------------------------------------------------------------------------------


def plan_fix(target: Target) -> FixPlan:
    """Look at the script and at the place of its copy, before anything runs.

    Raises:
        InputError: the script cannot be read or copied beside itself, another file has the copy's
            name, or this is one process of a distributed training.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            "One process of a distributed training cannot run the script again.",
            where="--fix",
            remedy="Look for the cause in one process, without torchrun.",
        )
    script, module = script_file(target)
    raw = script.read_bytes()
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        text = raw.decode(encoding)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise InputError(
            f"{script} is no Python text ({error}).",
            where="--fix",
            remedy="Save it as UTF-8, and see that Python runs it.",
        ) from None
    copy, name = _copy_of(script, module)
    if copy.exists() and not is_ours(copy.read_text(encoding=encoding, errors="replace")):
        raise InputError(
            f"{copy.name} is there already and was not made by --fix.",
            where="--fix",
            remedy="Rename it: the patched copy would take its place.",
        )
    if not os.access(script.parent, os.W_OK):
        raise InputError(
            f"{script.parent} cannot be written to.",
            where="--fix",
            remedy="Copy the script to a folder that you may write to.",
        )
    return FixPlan(
        target=target,
        script=script,
        text=text,
        encoding=encoding,
        copy=copy,
        copy_name=name or os.path.join(os.path.dirname(target.name), copy.name),
        folder=Path.cwd(),
        environment=dict(os.environ),
    )


def _copy_of(script: Path, module: str) -> tuple[Path, str]:
    """The copy's path; and its dotted name, which allows no second dot in the file's, or ""."""
    if not module:
        return script.with_name(f"{script.stem}.fixed{script.suffix or '.py'}"), ""
    stem = f"{script.stem.strip('_')}_fixed"
    package = module.rpartition(".")[0]
    return script.with_name(f"{stem}.py"), f"{package}.{stem}" if package else stem


# -- the copy --------------------------------------------------------------------------------------


def patch_script(plan: FixPlan, outcome: RunOutcome) -> Patched:
    """Write a copy with the first proved change (or pair) that can be expressed as an edit."""
    diagnosis = outcome.diagnosis
    if diagnosis is None or outcome.case is None:
        return Patched(refused=(_nothing_to_fix(outcome),))
    proved = [one for one in diagnosis.causes if one.proved]
    if not proved:
        return Patched(
            refused=("No cause was proved, and only what a trial has proved is applied.",)
        )
    from everyclass.workflows.fix_facts import facts_of

    facts = facts_of(outcome.case, script=plan.script, folder=Path.cwd())
    refused = [
        f"{one.id} is proved, but no edit of a script answers it."
        for one in proved
        if one.trial is None
    ]
    unanswered = [one.id for one in proved if one.trial is None]
    for trial in _proved_trials(diagnosis):
        try:
            patch = patched(plan.text, trial.change.split(" + "), facts)
        except NotEditable as reason:
            refused.append(f"{' and '.join(trial.causes)} is proved ({trial.words}): {reason}")
            unanswered += trial.causes
            continue
        text = marked(patch.text, plan.script.name)
        write_atomically(plan.copy, text.encode(plan.encoding))
        return Patched(
            copy=plan.copy,
            causes=tuple(trial.causes),
            sentences=patch.sentences,
            difference=difference(
                plan.text, patch.text, old_name=plan.script.name, new_name=plan.copy.name
            ),
            refused=tuple(refused),
        )
    by_hand = [one.sentence for one in diagnosis.remedies if one.cause in unanswered]
    return Patched(refused=tuple(refused), remedies=tuple(dict.fromkeys(by_hand)))


def _nothing_to_fix(outcome: RunOutcome) -> str:
    verdict = outcome.report.verdict
    if verdict == "healthy":
        return "The training is healthy: there is nothing to fix."
    if verdict is None:
        return "Nothing was watched, so that nothing is known to fix."
    return f"The training is {verdict}, but no trial could be made to find the cause."


def _proved_trials(diagnosis: Diagnosis) -> Iterator[Trial]:
    """Those of the causes, in their order, then the others."""
    of_causes = [one.trial for one in diagnosis.causes if one.proved and one.trial is not None]
    every = [*of_causes, *(one for one in diagnosis.trials if one.proved)]
    seen: set[str] = set()
    for trial in every:
        if trial.proved and trial.change not in seen:
            seen.add(trial.change)
            yield trial


# -- after -----------------------------------------------------------------------------------------


def run_again(
    plan: FixPlan, copy: Patched, outcome: RunOutcome, *, stop_on_collapse: bool = False
) -> Fix:
    """Run the copy as the script was run, in a process of its own, without trials.

    What it prints goes to standard error: standard output has the script's own already.
    """
    _free_device()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "seen.json"
        command = [
            *(sys.executable, "-m", "everyclass", "run", "--quiet", "--budget", "0"),
            *("--json", str(file)),
            *(("--stop-on-collapse",) if stop_on_collapse else ()),
            *(("-m",) if plan.target.is_module else ()),
            *(plan.copy_name, *plan.target.arguments),
        ]
        done = subprocess.run(
            command,
            cwd=plan.folder,
            env=dict(plan.environment),
            stdout=STANDARD_ERROR,
            check=False,
        )
        shown = json.loads(file.read_text()) if file.exists() else None
    before = outcome.report.to_dict()
    if shown is None:
        ended = f"ended its process with code {done.returncode} before its report"
        return Fix(
            patched=copy,
            before=_seen(before, evaluation=_evaluated(before)),
            after=Seen(ended=ended, verdict=None, step=0),
        )
    evaluation = _evaluated(before) and _evaluated(shown)
    return Fix(
        patched=copy,
        before=_seen(before, evaluation=evaluation),
        after=_seen(shown, evaluation=evaluation),
    )


def _free_device() -> None:
    """Give back what torch keeps for later: the copy needs as much as the script did."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _evaluated(report: Mapping[str, Any]) -> bool:
    return bool((report["summary"] or {}).get("evaluation"))


def _seen(report: Mapping[str, Any], *, evaluation: bool) -> Seen:
    """A run's figures, from the content of its `findings.json`."""
    seen = Seen(
        ended=report["ended"],
        verdict=report["verdict"],
        step=report["step"],
        phase=report["phase"],
    )
    summary = report["summary"] or {}
    figures = summary.get("figures")
    if figures is None:
        return seen
    names = [one["name"] for one in figures["classes"]]
    if evaluation:
        last = summary["evaluation"]
        recalls, shares = last["recalls"], last["predicted_shares"]
        judged_on = "last evaluation"
    else:
        recalls = [one["recall"] for one in figures["classes"]]
        shares = [one["predicted_share"] for one in figures["classes"]]
        judged_on = "recent training batches"
    known = [(recall, name) for recall, name in zip(recalls, names) if recall is not None]
    if not known:
        return seen
    lowest = min(known)
    return replace(
        seen,
        judged_on=judged_on,
        balanced_accuracy=sum(recall for recall, _ in known) / len(known),
        lowest_recall=lowest[0],
        lowest_class=lowest[1],
        predicted=sum(1 for one in shares if one),
        classes=len(names),
        recalls=dict(zip(names, recalls)),
    )
