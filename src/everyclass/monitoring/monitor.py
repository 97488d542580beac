"""The monitor: fed logits and targets while a training runs, answers at any time.

Comes in: one call a step. Goes out: findings, a summary, scalars. What is measured is in
`measures`, what is pooled in `rounds`, what is alarmed on in `alarms`; here the passes are
collected, read in blocks, and turned into words. Knows no loop, no files and no terminal.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from everyclass.contracts import Verdict
from everyclass.errors import InputError
from everyclass.findings import Evidence, Finding, Severity
from everyclass.monitoring.alarms import AlarmId, Alarms
from everyclass.monitoring.evaluations import Evaluations
from everyclass.monitoring.layers import LayerWatch
from everyclass.monitoring.measures import Rows, ScoreKind, measure, packed_confusion
from everyclass.monitoring.phases import Phases
from everyclass.monitoring.ranks import RankSums
from everyclass.monitoring.rounds import Floats, History, Pool, Round
from everyclass.monitoring.state import OnItsWay, Waiting, plain, revived
from everyclass.monitoring.summary import Figures, Summary, recent_figures
from everyclass.monitoring.words import (
    Names,
    Seen,
    alarm_sentence,
    non_finite_sentence,
    phase_sentence,
    state_at_the_end,
    told_phases,
)

FIRST_BLOCK, LARGEST_BLOCK = 4, 32
"""Passes read together: few at first, so that an answer is there early."""

_REMEMBERED = (
    *("_step", "_ignored", "_rates", "_waiting", "_travelling", "_block", "_kind", "_n_classes"),
    *("_pool", "_history", "_alarms", "_phases", "_evaluations", "_last", "_findings"),
    *("_non_finite_told", "_confusions"),
)
"""What a monitor is besides the arguments it was made with."""

CONFUSION_BLOCKS = 32
"""Blocks whose confusion makes up the window for mutual information: about 1,000 passes."""

MOST_KEPT = 2_000_000
"""Scores kept between two readings, so that 1,000 classes do not fill the memory."""


class Monitor:
    """Watches one training: what it predicts, whether it learns, whether it has collapsed.

    Costs a copy of the logits a step; every 32 passes some sums are computed on the device and
    travel to the host while the device goes on. No step waits, nothing is drawn from a random
    generator, memory is bounded.

    Args:
        classes: names in output order; ids are used without.
        first_step: optimizer steps done before, when a training is continued; the watch itself
            begins anew.
        steps_per_epoch: passes an epoch, where known: an epoch is enough for a healthy run to
            leave its opening phase.
        model, optimizer: to watch the parameters too (`layers`); both or neither.
        false_alarm_probability: of the whole run, relative to the nulls stated in `alarms`.
        on_finding: called once for each alarm, at once; may raise to stop the training.
        ranks: sums over the ranks of a distributed training. Every rank then has a monitor, and
            all of them know the same: what `ranks` summed, in whole blocks of up to 32 passes.
            One rank alone may ask at any time; `catch_up` and `end_evaluation` are collectives.
    Raises:
        InputError: a probability outside (0, 1), one class, or a model without its optimizer.

    Example:
        >>> monitor = Monitor(classes=["cat", "dog"])
        >>> logits, targets = torch.tensor([[2.0, 0.0], [0.5, 0.0]]), torch.tensor([0, 1])
        >>> monitor.step(logits, targets)
        >>> monitor.summary().phase
        'opening'
    """

    def __init__(
        self,
        *,
        classes: Sequence[str] | None = None,
        first_step: int = 0,
        steps_per_epoch: int | None = None,
        model: nn.Module | None = None,
        optimizer: Optimizer | None = None,
        false_alarm_probability: float = 0.01,
        on_finding: Callable[[Finding], None] | None = None,
        ranks: RankSums | None = None,
    ) -> None:
        if not 0 < false_alarm_probability < 1:
            raise InputError(
                f"false_alarm_probability is {false_alarm_probability}, not in (0, 1).",
                remedy="0.01 means one false alarm in a hundred healthy trainings.",
            )
        if classes is not None and len(classes) < 2:
            raise InputError(f"classes has {len(classes)} names; a classifier needs two or more.")
        if (model is None) != (optimizer is None):
            raise InputError(
                "model and optimizer are watched together.", remedy="Give both or neither."
            )
        self._names = Names(None if classes is None else tuple(classes))
        self._steps_per_epoch = steps_per_epoch
        self._level = false_alarm_probability
        self._on_finding = on_finding
        self._ranks = ranks
        self._largest_block: int | None = None
        self._step = first_step
        self._ignored = 0
        self._rates: list[tuple[int, float]] = []
        self._waiting = Waiting()
        self._travelling: OnItsWay | None = None
        self._block = FIRST_BLOCK
        self._kind: ScoreKind = "logits"
        self._n_classes: int | None = None
        self._pool: Pool | None = None
        self._history: History | None = None
        self._alarms: Alarms | None = None
        self._phases: Phases | None = None
        self._evaluations: Evaluations | None = None
        self._last: list[Round] = []
        self._findings: list[Finding] = []
        self._non_finite_told = False
        self._confusions: deque[Floats] = deque(maxlen=CONFUSION_BLOCKS)
        self._layers = (
            LayerWatch(model, optimizer) if model is not None and optimizer is not None else None
        )

    # -- feeding -------------------------------------------------------------------------------

    def step(self, logits: Tensor, targets: Tensor, loss: Tensor | None = None) -> None:
        """One training step of a plain loop: `observe`, then `advance`."""
        self.observe(logits, targets, loss)
        self.advance()

    def observe(
        self,
        logits: Tensor,
        targets: Tensor,
        loss: Tensor | None = None,
        *,
        kind: ScoreKind = "logits",
    ) -> None:
        """One forward pass of training. Several may come before an `advance` (accumulation).

        Args:
            logits: (B, C) scores, float, before or after the step.
            targets: (B,) int64 class ids; ids outside 0..C-1 do not count.
            loss: the scalar the script computed.
            kind: what the scores are.
        Raises:
            InputError: shapes that do not fit.
        """
        self._check(logits, targets)
        if self._evaluations is not None:
            self._close_evaluation()
        if self._n_classes is None:
            self._begin(logits.shape[1], kind, logits.shape[0])
        if logits.shape[1] != self._n_classes or kind != self._kind:
            self._ignored += 1
            return
        waiting = self._waiting
        waiting.scores.append(logits.detach().clone())
        waiting.targets.append(targets.detach().clone())
        waiting.losses.append(None if loss is None else loss.detach().clone())
        waiting.steps.append(self._step)
        waiting.kept += logits.numel()
        if len(waiting.scores) >= min(self._block, self._agreed_block(logits.numel())) or (
            waiting.kept >= MOST_KEPT and self._ranks is None
        ):
            self._flush(wait=False)
            self._block = min(2 * self._block, LARGEST_BLOCK)

    def advance(self, *, learning_rate: float | None = None) -> None:
        """One optimizer step was taken, at this rate if it is known."""
        self._step += 1
        if learning_rate is None and self._layers is not None:
            learning_rate = self._layers.learning_rate()
        if learning_rate is not None:
            rate = float(learning_rate)
            if not self._rates or rate != self._rates[-1][1]:
                self._rates.append((self._step, rate))
                del self._rates[1:-512]

    def observe_evaluation(
        self, logits: Tensor, targets: Tensor, *, kind: ScoreKind = "logits"
    ) -> None:
        """One forward pass of an evaluation; consecutive ones are one evaluation.

        Args:
            logits, targets, kind: as `observe`.
        """
        self._check(logits, targets)
        if self._n_classes is None:
            self._begin(logits.shape[1], kind, logits.shape[0])
        if logits.shape[1] != self._n_classes:
            self._ignored += 1
            return
        if self._evaluations is None:
            self._evaluations = Evaluations(n_classes=self._n_classes)
        self._evaluations.add(logits, targets)

    def end_evaluation(self) -> None:
        """The evaluation is complete; the next training pass says so too.

        With `ranks` a collective, and the only thing that adds up an evaluation whose images were
        divided among ranks.
        """
        if self._ranks is not None and self._largest_block is not None:
            assert self._n_classes is not None
            if self._evaluations is None:
                self._evaluations = Evaluations(n_classes=self._n_classes)
            self._evaluations.sum_over(self._ranks)
        if self._evaluations is not None:
            self._close_evaluation()

    def catch_up(self) -> None:
        """Read the passes that still wait, for the last answer of a distributed training.

        With `ranks` a collective, at the same step on every rank; without, every question does it.
        """
        self._flush(wait=True)

    # -- answering -----------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Optimizer steps done."""
        return self._step

    @property
    def kind(self) -> ScoreKind:
        """What the scores are, by the first pass."""
        return self._kind

    def findings(self) -> tuple[Finding, ...]:
        """Everything that was found so far, in the order it was told; what is over too."""
        self._flush_alone(wait=True)
        return tuple(self._findings)

    def summary(self, *, ended: bool = False) -> Summary:
        """What is known now: verdict, phase, recent figures, findings.

        Args:
            ended: the training is over. A run that is still in its opening phase is then judged
                by where it stands, with a warning instead of an alarm: no test had the time.
        """
        self._flush_alone(wait=True)
        if self._evaluations is not None and self._evaluations.open_passes and not self._ranks:
            self._close_evaluation()
        if self._alarms is None or self._phases is None or self._history is None:
            return Summary.nothing(step=self._step)
        standing = [one for one in self._findings if one.ended_step is None]
        known = {one.id for one in standing}
        late = tuple(one for one in self._at_the_end() if one.id not in known) if ended else ()
        told = [*standing, *late]
        verdict = _gravest(told)
        figures = self._figures()
        seen = self._seen()
        names = self._class_names()
        sentence = (
            " ".join(one.sentence for one in told if one.id == verdict)
            if verdict != "healthy"
            else phase_sentence(seen, figures, self._history)
        )
        return Summary(
            verdict=verdict,
            phase="opening" if self._alarms.opening else "learned",
            sentence=sentence,
            step=self._step,
            learning=self._history.learning(),
            informative_since=self._alarms.learned_step,
            single_class_phases=told_phases(self._phases, names),
            figures=figures,
            findings=(*self._findings, *late),
            evaluation=None if self._evaluations is None else self._evaluations.last(names),
            layers=() if self._layers is None else self._layers.report(),
            ignored_passes=self._ignored,
        )

    def scalars(self) -> dict[str, float]:
        """Figures of the last rounds by name, for a logger; empty before the first round."""
        self._flush_alone(wait=False)
        figures = self._figures()
        if figures is None:
            return {}
        found = figures.scalars()
        if self._layers is not None:
            found.update(self._layers.scalars())
        return {f"everyclass/{name}": value for name, value in found.items()}

    def close(self) -> None:
        """Remove the hooks on the optimizer; answers are still given."""
        if self._layers is not None:
            self._layers.close()

    # -- going on elsewhere --------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything it remembers, for a checkpoint; nothing is read early, so that a watch that
        goes on from here tells what this one will tell. What is known of layers is left out.
        """
        if self._travelling is not None:
            self._travelling = self._travelling.landed()
        return {name: plain(getattr(self, name)) for name in _REMEMBERED}

    def restore(self, state: dict[str, Any], *, device: torch.device) -> None:
        """Go on where another monitor, made with the same arguments, gave its `state`.

        Args:
            device: of the logits to come.
        """
        for name in _REMEMBERED:
            setattr(self, name, revived(state[name], device))

    # -- inside --------------------------------------------------------------------------------

    def _check(self, logits: Tensor, targets: Tensor) -> None:
        if logits.dim() != 2 or targets.dim() != 1 or len(logits) != len(targets):
            raise InputError(
                f"The monitor got outputs of shape {tuple(logits.shape)} and targets of shape "
                f"{tuple(targets.shape)}.",
                remedy="It takes (B, C) scores and (B,) class ids.",
            )
        if logits.shape[1] < 2:
            raise InputError(
                "The monitor got one output column.",
                remedy="For a single sigmoid unit z pass torch.stack([0 * z, z], dim=1).",
            )

    def _begin(self, n_classes: int, kind: ScoreKind, batch: int) -> None:
        if self._names.given is not None and len(self._names.given) != n_classes:
            raise InputError(
                f"{len(self._names.given)} class names were given, the model has {n_classes} "
                "outputs.",
                remedy="Give one name for each output, in their order.",
            )
        epoch = None if self._steps_per_epoch is None else self._steps_per_epoch * batch
        if epoch is not None and self._ranks is not None:
            epoch *= self._ranks.size
        self._n_classes, self._kind = n_classes, kind
        self._pool = Pool(n_classes=n_classes, kind=kind)
        self._history = History(n_classes=n_classes)
        self._phases = Phases()
        self._alarms = Alarms(
            n_classes=n_classes, false_alarm_probability=self._level, epoch_images=epoch
        )

    def _agreed_block(self, scores: int) -> int:
        """Passes a block may have. The ranks agree on it once, so that all flush at one step.

        Args:
            scores: of this pass.
        """
        if self._ranks is None:
            return LARGEST_BLOCK
        if self._largest_block is None:
            self._largest_block = max(1, MOST_KEPT // max(1, self._ranks.largest(scores)))
        return self._largest_block

    def _flush_alone(self, *, wait: bool) -> None:
        """As `_flush`, for a question: one rank may ask alone, so it sums nothing over ranks."""
        if self._ranks is None:
            self._flush(wait=wait)

    def _flush(self, *, wait: bool) -> None:
        """Send what waits on its way; read what has arrived, or everything when `wait`."""
        waiting, self._waiting = self._waiting, Waiting()
        if waiting.scores:
            assert self._pool is not None
            device = waiting.scores[0].device
            log_prior = torch.as_tensor(self._pool.log_prior(), dtype=torch.float32).to(
                device, non_blocking=True
            )
            packed = measure(
                waiting.scores,
                waiting.targets,
                waiting.losses,
                kind=self._kind,
                log_prior=log_prior,
            )
            event = None
            if packed.is_cuda:
                packed = packed.to("cpu", non_blocking=True)
                event = torch.cuda.Event()  # type: ignore[no-untyped-call]
                event.record()
            self._read()
            given = [loss is not None for loss in waiting.losses]
            self._travelling = OnItsWay(packed, waiting.steps, given, event)
            if event is None:
                self._read()
        if wait:
            self._read()

    def _read(self) -> None:
        arrived, self._travelling = self._travelling, None
        if arrived is None:
            return
        assert self._n_classes is not None
        assert self._pool is not None
        assert self._history is not None
        assert self._alarms is not None
        if arrived.arrived is not None:
            arrived.arrived.synchronize()
        size = {"n_passes": len(arrived.steps), "n_classes": self._n_classes}
        sums = arrived.packed.cpu()
        if self._ranks is not None:
            sums = self._ranks.sum_block(sums, **size)
        packed = sums.numpy().astype(np.float64)
        rows = Rows.from_packed(packed, **size)
        confusion = packed_confusion(packed, **size)
        if confusion is not None:
            self._confusions.append(confusion)
        self._tell_non_finite(rows, arrived)
        self._alarms.look(self._history)
        for one in self._pool.add(rows, arrived.steps):
            self._take(one)

    def _take(self, one: Round) -> None:
        assert self._alarms is not None
        assert self._history is not None
        assert self._phases is not None
        self._phases.add(one)
        raised = self._alarms.update(one, rate_rises=self._rate_rises())
        self._history.add(one)
        self._last.append(one)
        del self._last[: -_figure_rounds(self._alarms.n_classes)]
        for name in raised:
            self._raise_alarm(name)
        self._take_back(one)

    def _rate_rises(self) -> bool:
        """Warming up: the rate last changed upwards, within the last tenth of the run."""
        if len(self._rates) < 2:
            return False
        (_, before), (step, last) = self._rates[-2:]
        return last > before and self._step - step <= max(1, self._step // 10)

    def _raise_alarm(self, name: AlarmId) -> None:
        since, evidence, sentence = alarm_sentence(name, self._seen())
        self._add(name, since, evidence, sentence, "alarm")

    def _take_back(self, one: Round) -> None:
        alarms = self._alarms
        assert alarms is not None
        standing = {
            "collapsed": alarms.collapse.raised,
            "not-learning": alarms.not_learning.raised,
            "diverged": alarms.diverged.raised,
            "starved": bool(alarms.starved_raised.any()),
        }
        for i, found in enumerate(self._findings):
            fact = found.evidence.get("fact") or found.evidence.get("stream") == "evaluation"
            if found.ended_step is None and not fact and not standing.get(found.id, True):
                self._findings[i] = replace(found, ended_step=one.last_step)

    def _tell_non_finite(self, rows: Rows, block: OnItsWay) -> None:
        if self._non_finite_told:
            return
        bad_loss = np.isnan(rows.given_loss) | np.isinf(rows.given_loss)
        bad = (rows.non_finite > 0) | (bad_loss & np.array(block.given))
        if not bad.any():
            return
        self._non_finite_told = True
        at = int(bad.argmax())
        where = None if self._layers is None else self._layers.first_non_finite()
        evidence, sentence = non_finite_sentence(
            step=block.steps[at],
            images=int(rows.non_finite[at]),
            loss=float(rows.given_loss[at]) if block.given[at] else None,
            where=where,
        )
        self._add("diverged", block.steps[at], evidence, sentence, "alarm")

    def _close_evaluation(self) -> None:
        assert self._evaluations is not None
        if not self._evaluations.open_passes:
            return
        self._flush_alone(wait=True)
        opening = self._alarms is None or self._alarms.opening
        found = self._evaluations.close(
            step=self._step,
            names=self._class_names(),
            opening=opening,
            train_kappa=self._train_kappa(),
            level=self._level,
        )
        for i, old in enumerate(self._findings):
            mine = old.evidence.get("stream") == "evaluation" and old.ended_step is None
            if mine and found.recovered:
                self._findings[i] = replace(old, ended_step=self._step)
        if found.verdict is not None:
            self._add(
                found.verdict, found.since_step, found.evidence, found.sentence, found.severity
            )

    def _add(
        self,
        name: Verdict,
        since: int | None,
        evidence: Evidence,
        sentence: str,
        severity: Severity,
    ) -> None:
        found = self._finding(name, since, evidence, sentence, severity)
        for i, old in enumerate(self._findings):
            # One more starved class is the same finding grown, not another alarm.
            if name == "starved" and old.id == name and old.ended_step is None:
                self._findings[i] = replace(found, seen_step=old.seen_step)
                return
        self._findings.append(found)
        if self._on_finding is not None and severity == "alarm":
            self._on_finding(found)

    def _at_the_end(self) -> tuple[Finding, ...]:
        """What the end of a run shows that no test had time to prove: warnings."""
        assert self._history is not None
        found = state_at_the_end(self._seen(), self._history)
        if found is not None:
            name, (since, evidence, sentence) = found
            return (self._finding(name, since, evidence, sentence, "warning"),)
        if self._evaluations is not None:
            assert self._pool is not None
            last = self._evaluations.at_the_end(
                train_kappa=self._train_kappa(),
                train_counts=self._pool.counts,
                names=self._class_names(),
            )
            if last.verdict is not None:
                return (
                    self._finding(
                        last.verdict, last.since_step, last.evidence, last.sentence, last.severity
                    ),
                )
        return ()

    def _finding(
        self,
        name: Verdict,
        since: int | None,
        evidence: Evidence,
        sentence: str,
        severity: Severity,
    ) -> Finding:
        return Finding(
            id=name,
            since_step=since,
            seen_step=self._step,
            severity=severity,
            evidence=evidence,
            sentence=sentence,
        )

    def _train_kappa(self) -> float:
        return float(np.mean([one.kappa for one in self._last])) if self._last else 0.0

    def _class_names(self) -> tuple[str, ...]:
        return self._names.of(self._n_classes or 0)

    def _seen(self) -> Seen:
        assert self._alarms is not None
        assert self._phases is not None
        return Seen(
            recent=self._last,
            alarms=self._alarms,
            phases=self._phases,
            names=self._class_names(),
        )

    def _figures(self) -> Figures | None:
        if not self._last:
            return None
        confusion = np.sum(self._confusions, axis=0) if self._confusions else None
        return recent_figures(self._last, self._class_names(), confusion)


def _gravest(findings: Sequence[Finding]) -> Verdict:
    order: tuple[Verdict, ...] = ("diverged", "collapsed", "not-learning", "starved")
    told = {one.id for one in findings}
    return next((name for name in order if name in told), "healthy")


def _figure_rounds(n_classes: int) -> int:
    """Rounds that recent figures are taken over: 32, or enough for ten images a class."""
    return max(32, min(256, math.ceil(10 * n_classes / 32)))
