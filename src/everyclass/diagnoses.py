"""What a diagnosis says: trials, causes, remedies.

Comes in: numbers that trials measured. Goes out: values with their JSON form. Knows no model.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from everyclass.contracts import Verdict
from everyclass.findings import CauseId, CheckResult, Evidence, Finding


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
        return "".join(self._html())

    def _html(self) -> Iterator[str]:
        """For a notebook: the answer, the causes with their remedies, the trials as a table."""
        yield f"<p><b>{html.escape(self.sentence)}</b></p><ol>"
        remedies = {one.cause: one for one in self.remedies}
        for cause in self.causes:
            yield f"<li><b>{cause.id}</b> ({cause.state}): {html.escape(cause.sentence)}"
            remedy = remedies.get(cause.id)
            if remedy is not None:
                yield f"<br><i>{html.escape(remedy.sentence)}</i>"
                yield f"<br><code>{html.escape(remedy.code)}</code>" if remedy.code else ""
            yield "</li>"
        yield "</ol>"
        if self.trials:
            yield (
                "<table><tr><th>tried on a copy</th><th>without</th><th>with</th>"
                "<th>gain, 95 %</th><th></th></tr>"
            )
            for one in self.trials:
                state = "proved" if one.proved else ""
                words = one.words if one.judged_on == "held-out" else f"{one.words}, by heart"
                yield (
                    f"<tr><td>{html.escape(words)}</td><td>{one.control:.2f}</td>"
                    f"<td>{one.changed:.2f}</td><td>{one.ci95[0]:+.2f} to {one.ci95[1]:+.2f}</td>"
                    f"<td>{state}</td></tr>"
                )
            yield "</table>"
        yield from (f"<p>{html.escape(one)}</p>" for one in self.notes)
