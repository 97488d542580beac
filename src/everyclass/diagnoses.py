"""What a diagnosis says: trials, causes, remedies.

Comes in: numbers that trials measured. Goes out: values with their JSON form. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from everyclass import notebook
from everyclass.contracts import Verdict
from everyclass.findings import CauseId, CheckResult, Evidence, Finding, as_verdict
from everyclass.json_reader import Reader, as_whole, check_share, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One change, beside an unchanged control, on copies of the same training.

    Attributes:
        change: its name, in words with hyphens; two names joined by " + " for a pair.
        causes: what is the matter if it helps; two for a pair.
        words: what was changed, to follow "with".
        steps: forward passes that each side made; 0 for weights judged as they are.
        control, changed: balanced accuracy on held-out images, mean over the seeds.
        gain: their difference.
        ci95: its 95 % interval, paired over the held-out images.
        chance: balanced accuracy of a constant answer.
        seeds: orders of the batches (and draws of dropout) that both sides were trained with.
        images: judged by.
        judged_on: held-out images; or those that both sides were trained on, where no side
            tells held-out ones apart: then the change frees the network to learn by heart, no more.
        missed: classes that the changed side never recognises, of those with enough images.
        recovered: the changed side left the collapse: it tells the classes apart and misses none.
        proved: the interval lies above zero, the changed side recovered and the control did not, in
            every seed, and neither negative control recovered.
        sham: balanced accuracy after a change that ought to do nothing, another order of the
            batches (and other draws); None where that was not tried.
        permuted: of the changed side trained with the labels of other images; None likewise.
        batch_images: of a batch in the trial, where captured batches were cut into pieces because
            passes of whole ones were too slow for the budget; None where they were whole.
    """

    change: str
    causes: tuple[CauseId, ...]
    words: str
    steps: int
    control: float
    changed: float
    gain: float
    ci95: tuple[float, float]
    chance: float
    seeds: int
    images: int
    missed: tuple[int, ...]
    recovered: bool
    proved: bool
    judged_on: Literal["held-out", "trained"] = "held-out"
    sham: float | None = None
    permuted: float | None = None
    batch_images: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "change": self.change,
            "causes": list(self.causes),
            "words": self.words,
            "steps": self.steps,
            "control": self.control,
            "changed": self.changed,
            "gain": self.gain,
            "ci95": list(self.ci95),
            "chance": self.chance,
            "seeds": self.seeds,
            "images": self.images,
            "missed": list(self.missed),
            "recovered": self.recovered,
            "proved": self.proved,
            "judged_on": self.judged_on,
            "sham": self.sham,
            "permuted": self.permuted,
            "batch_images": self.batch_images,
        }

    @classmethod
    def from_dict(cls, values: object, *, where: str = "trial") -> Trial:
        """The value of a JSON object; raises InputError for what is missing or wrong."""
        read = Reader(values, where)
        judged = read.value_or_none("judged_on") or "held-out"
        require(judged in ("held-out", "trained"), where, f"judged_on is {judged!r}.")
        for key in ("control", "changed", "chance"):
            check_share(read.number(key), where, key)
        return cls(
            change=read.text("change"),
            causes=cast(tuple[CauseId, ...], read.texts("causes")),
            words=read.text("words"),
            steps=read.whole("steps"),
            control=read.number("control"),
            changed=read.number("changed"),
            gain=read.number("gain"),
            ci95=read.interval("ci95"),
            chance=read.number("chance"),
            seeds=read.whole("seeds"),
            images=read.whole("images"),
            missed=tuple(as_whole(one, where, "missed") for one in read.items("missed")),
            recovered=read.flag("recovered"),
            proved=read.flag("proved"),
            judged_on=cast(Literal["held-out", "trained"], judged),
            sham=read.number_or_none("sham"),
            permuted=read.number_or_none("permuted"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason why a training fails.

    Attributes:
        id: see `CauseId`.
        proved: by a trial; else a suspicion.
        sentence: for a person, with the numbers.
        trial: that was made for it, None without.
        evidence: of the check that accuses it; empty without.
    """

    id: CauseId
    proved: bool
    sentence: str
    trial: Trial | None = None
    evidence: Evidence = field(default_factory=dict)

    @property
    def state(self) -> Literal["proved", "a fact", "suspected"]:
        """How sure it is: by a trial, by what was computed itself, or by a check alone."""
        if self.proved:
            return "proved"
        return "a fact" if self.evidence.get("fact") else "suspected"

    def to_dict(self, rank: int) -> dict[str, Any]:
        """The JSON object."""
        return {
            "id": self.id,
            "rank": rank,
            "proved": self.proved,
            "evidence": dict(self.evidence),
            "trial": None if self.trial is None else self.trial.to_dict(),
            "sentence": self.sentence,
        }

    @classmethod
    def from_dict(cls, values: object, *, where: str = "cause") -> Cause:
        """The value of a JSON object; raises InputError for what is missing or wrong."""
        read = Reader(values, where)
        trial = read.value("trial")
        return cls(
            id=cast(CauseId, read.text("id")),
            proved=read.flag("proved"),
            sentence=read.text("sentence"),
            trial=None if trial is None else Trial.from_dict(trial, where=f"{where}: trial"),
            evidence=read.record("evidence"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What to change.

    Attributes:
        cause: that it answers.
        sentence: for a person.
        code: place and line to change; "" where it cannot be told.
    """

    cause: CauseId
    sentence: str
    code: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {"cause": self.cause, "sentence": self.sentence, "code": self.code}

    @classmethod
    def from_dict(cls, values: object, *, where: str = "remedy") -> Remedy:
        """The value of a JSON object; raises InputError for what is missing or wrong."""
        read = Reader(values, where)
        return cls(
            cause=cast(CauseId, read.text("cause")),
            sentence=read.text("sentence"),
            code=read.text("code"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Why a training fails, as far as experiments tell.

    Attributes:
        verdict: of the watch, None when nothing was watched.
        step: optimizer steps that the training had made.
        sentence: the whole in a few words.
        findings: of the watch.
        causes: the likeliest first; empty when nothing was found.
        remedies: of the causes, in their order.
        trials: all that were made, in the order of their results.
        excluded: name of a change -> why it was not tried.
        notes: what a reader has to know about the trials.
        checks: exact ones.
        seconds: that the trials took.
    """

    verdict: Verdict | None
    step: int
    sentence: str
    findings: tuple[Finding, ...] = ()
    causes: tuple[Cause, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    trials: tuple[Trial, ...] = ()
    excluded: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    seconds: float = 0.0

    @property
    def answer(self) -> Cause | None:
        """The first cause."""
        return self.causes[0] if self.causes else None

    def to_dict(self) -> dict[str, Any]:
        """The content of `diagnosis.json`, without the watch's overhead."""
        return {
            "verdict": self.verdict,
            "step": self.step,
            "sentence": self.sentence,
            "findings": [one.to_dict() for one in self.findings],
            "causes": [one.to_dict(rank) for rank, one in enumerate(self.causes, start=1)],
            "remedies": [one.to_dict() for one in self.remedies],
            "trials": [one.to_dict() for one in self.trials],
            "excluded": dict(self.excluded),
            "notes": list(self.notes),
            "checks": [one.to_dict() for one in self.checks],
            "seconds": round(self.seconds, 2),
        }

    @classmethod
    def from_dict(cls, values: object, *, where: str = "diagnosis.json") -> Diagnosis:
        """The value of a parsed `diagnosis.json`. Fields that this version does not know are left
        alone.

        Raises:
            InputError: a field is missing, of another type or out of range.
        """
        read = Reader(values, where)
        verdict = None if read.value("verdict") is None else read.text("verdict")

        def each(key: str) -> Iterator[tuple[object, str]]:
            return ((one, f"{where}: {key}[{i}]") for i, one in enumerate(read.items(key)))

        return cls(
            verdict=None if verdict is None else as_verdict(verdict, where),
            step=read.whole("step"),
            sentence=read.text("sentence"),
            findings=tuple(Finding.from_dict(one, where=at) for one, at in each("findings")),
            causes=tuple(Cause.from_dict(one, where=at) for one, at in each("causes")),
            remedies=tuple(Remedy.from_dict(one, where=at) for one, at in each("remedies")),
            trials=tuple(Trial.from_dict(one, where=at) for one, at in each("trials")),
            excluded=dict(read.text_pairs("excluded")),
            notes=read.texts("notes"),
            checks=tuple(CheckResult.from_dict(one, where=at) for one, at in each("checks")),
            seconds=read.number("seconds"),
        )

    def __str__(self) -> str:
        lines = [self.sentence]
        remedies = {one.cause: one for one in self.remedies}
        for rank, cause in enumerate(self.causes, start=1):
            lines.append(f"{rank}. {cause.id} ({cause.state}): {cause.sentence}")
            remedy = remedies.get(cause.id)
            if remedy is not None:
                lines.append(f"   -> {remedy.sentence}")
                lines += [f"      {remedy.code}"] if remedy.code else []
        lines += self.notes
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """For a notebook: the answer, the causes with their remedies, the trials as a table."""
        parts = [notebook.headed(self.sentence)]
        remedies = {one.cause: one for one in self.remedies}
        items = []
        for cause in self.causes:
            item = notebook.strong(cause.id) + notebook.text(f" ({cause.state}): {cause.sentence}")
            remedy = remedies.get(cause.id)
            if remedy is not None:
                item += notebook.line(remedy.sentence) + notebook.code(remedy.code)
            items.append(item)
        parts.append(notebook.numbered(items))
        if self.trials:
            rows = [
                (
                    one.words if one.judged_on == "held-out" else f"{one.words}, by heart",
                    f"{one.control:.2f}",
                    f"{one.changed:.2f}",
                    f"{one.ci95[0]:+.2f} to {one.ci95[1]:+.2f}",
                    "proved" if one.proved else "",
                )
                for one in self.trials
            ]
            parts.append(
                notebook.table(("tried on a copy", "without", "with", "gain, 95 %", ""), rows)
            )
        parts += [notebook.paragraph(one) for one in self.notes]
        return "".join(parts)
