"""One watched script: what the patches tell becomes a monitor's passes and a case.

Comes in: losses, calls of networks, optimizer steps, batches. Goes out: a fed monitor, kept
batches, facts. Nothing here waits for the device at a step, draws from a random generator, or may
break the script: a fault of ours ends the watch, not the script.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from everyclass.capture.answer_gradients import AnswerGradients
from everyclass.capture.between_steps import BetweenSteps
from everyclass.capture.clipping import ClipWatch
from everyclass.capture.copies import Copies
from everyclass.capture.facts import (
    Facts,
    class_ids_finding,
    ids_over_classes_finding,
    spread_finding,
)
from everyclass.capture.feed import Feed, to_host
from everyclass.capture.first_labels import FirstLabels
from everyclass.capture.gradients import GradientWatch
from everyclass.capture.graph_leaves import GraphLeaves
from everyclass.capture.loaders import class_names, passes_an_epoch
from everyclass.capture.loss_recorder import LossRecorder
from everyclass.capture.losses import (
    LossCall,
    Reading,
    bind_loss,
    class_ids_as_probabilities,
    ids_spread_over_classes,
    read_loss,
    spread_shapes,
)
from everyclass.capture.matching import main_losses, match_call
from everyclass.capture.models import CallTap, ModelCall, copied
from everyclass.capture.other_steps import OtherSteps
from everyclass.capture.readings import LOOKS, HandWritten, is_binary, read_like, the_one
from everyclass.capture.reservoir import DEFAULT_BYTES, Reservoir
from everyclass.capture.rhythm import Rhythm
from everyclass.capture.roots import Roots
from everyclass.capture.sites import Sites, calling_site
from everyclass.capture.state_loads import Offer, StateLoads
from everyclass.capture.window import LARGEST_WINDOW, LossRecord, Sorted, Window
from everyclass.diagnosis.case import ClipKind, LossName
from everyclass.diagnosis.nested import plain, tensors_in
from everyclass.findings import Finding
from everyclass.monitoring.monitor import Monitor

P = ParamSpec("P")
T = TypeVar("T")


class StoppedRun(SystemExit):
    """Ends a script from within a step; its own clean-up runs, `except Exception` does not."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code)
        self.reason = reason


def _guarded(
    method: Callable[Concatenate[Session, P], T],
) -> Callable[Concatenate[Session, P], T | None]:
    """An entry from the script: timed, not re-entered, and never the reason why it fails."""

    @functools.wraps(method)
    def entry(self: Session, /, *args: P.args, **kwargs: P.kwargs) -> T | None:
        if not self.active:
            return None
        begin = time.perf_counter()
        self.active = False
        try:
            result = method(self, *args, **kwargs)
            self.active = True
        except Exception as error:  # noqa: BLE001 - told in the report, and the watch is over
            self.failure = error
            return None
        finally:
            self.last_seen = time.perf_counter()
            self.seconds += self.last_seen - begin
        return result

    return entry


class Session:
    """Watches one script; the `Watcher` of `Patches`.

    `findings` holds what a call alone proves; the monitor's are its own. Between two optimizer
    steps the session may rest (see `Rhythm`): what is computed with gradients is then not looked
    at, evaluations always are.

    Args:
        on_alarm: called with each alarm at once.
        after_step: called after each optimizer step, to write what is known.
        stop_on_collapse: end the script at the first alarm, with exit code 1.
        stop_after_steps: end the script after so many steps, with exit code 0.
        reservoir_bytes: bound of the kept batches.
        rhythm: says which steps to rest in.
    """

    def __init__(
        self,
        *,
        on_alarm: Callable[[Finding], None] | None = None,
        after_step: Callable[[], None] | None = None,
        stop_on_collapse: bool = False,
        stop_after_steps: int | None = None,
        reservoir_bytes: int = DEFAULT_BYTES,
        rhythm: Rhythm | None = None,
    ) -> None:
        self.active = True
        self.failure: Exception | None = None
        self.seconds = 0.0
        self.seconds_before_training = 0.0
        self.training_began: float | None = None
        self.last_seen = 0.0
        self.steps = 0
        self.loader: object | None = None
        self.main: LossRecord | None = None
        self.failed: LossRecord | None = None
        self.class_weights: Tensor | None = None
        self.rates: list[tuple[int, float]] = []
        self.facts = Facts()
        self.findings: list[Finding] = []
        self.sites = Sites()
        self.by_hand = HandWritten()
        self.gradients = GradientWatch()
        self.answers = AnswerGradients()
        self.leaves = GraphLeaves()
        self.between = BetweenSteps()
        self.reservoir = Reservoir(limit_bytes=reservoir_bytes)
        self.feed = Feed(
            facts=self.facts, reservoir=self.reservoir, make_monitor=self._make_monitor
        )
        self.tap = CallTap(self._hook_before, self._hook_after)
        self.roots = Roots(self.facts, self.tap)
        self.window = Window()
        self.own_loss = LossRecorder(lambda: self.active)
        self.first_labels = FirstLabels()
        self.copies = Copies()
        self.other_steps = OtherSteps(self.facts, self.sites, self.roots)
        self.loads = StateLoads()
        self.clips = ClipWatch()
        self.rhythm = rhythm or Rhythm()
        self._rests = False
        self._evaluates_with_gradients = False
        self._on_alarm = on_alarm
        self._after_step = after_step
        self._stop_on_collapse = stop_on_collapse
        self._stop_after_steps = stop_after_steps
        self._ending = False
        self._looked: dict[tuple[Any, ...], int | str] = {}
        self._calls: list[ModelCall] = []
        self._candidate: ModelCall | None = None
        self._loading: object | None = None
        self._batch_targets: tuple[Tensor, ...] = ()
        self._binary_targets: tuple[Tensor, ...] = ()
        self._scaler_stepped = False
        self._unanswered = False
        """A batch to evaluate came, and the watched network has not been called since."""

    def end(self) -> None:
        """The script is over: decide about what waits. Alarms are told and stop nothing."""
        self._ending = True
        self._end()
        self.own_loss.leave()
        self.other_steps.leave()
        self.active = False
        self.tap.keep_only(None)
        if self.feed.monitor is not None:
            self.feed.monitor.close()

    def silence(self) -> None:
        """In a forked child: see nothing."""
        self.active = False

    # -- losses --------------------------------------------------------------------------------

    @_guarded
    def loss_begins(
        self, name: LossName, arguments: tuple[Any, ...], keywords: Mapping[str, Any]
    ) -> LossRecord | None:
        """See `Watcher`."""
        self.facts.losses[name] += 1
        if self._rests and torch.is_grad_enabled():
            return None
        call = bind_loss(name, arguments, keywords)
        if call is None or not self._about_classes(call):
            return None
        record = LossRecord(
            call=call,
            site=calling_site(),
            step=self.steps,
            gradients=torch.is_grad_enabled(),
            on_backward=self._backward_begins if self.gradients.waits else None,
        )
        match_call(record, self.tap.open_call, self.tap.recent)
        if not record.fits_call and record.gradients and record.model_call is not None:
            self.facts.unmatched_rows = (
                f"{name} got {len(call.inputs)} rows, the network answered with "
                f"{record.model_call.rows}"
            )
        self._copy(record)
        self.failed = record
        return record

    @_guarded
    def loss_ends(self, token: LossRecord, value: Any) -> None:
        """See `Watcher`."""
        self.failed = None
        own = plain(value) if isinstance(value, Tensor) else None
        if own is None:
            return
        token.value = own.detach()
        token.differentiable = value.requires_grad
        if value.requires_grad:
            self.loader = self.loader or self._loading
            value.register_hook(token.mark_reached)
            if token.model_call is None:
                self.roots.search_graph(value)
        if self.window.add(token):
            self._evaluate(token)
        elif self.window.full:
            self._settle_without_step(all_but_last=True)

    @_guarded
    def _backward_begins(self) -> None:
        self.gradients.backward_begins()

    @_guarded
    def log_softmax(self, inputs: Tensor, outputs: Tensor) -> None:
        """See `Watcher`."""
        if self._rests and torch.is_grad_enabled():
            return
        if type(outputs) is not Tensor or outputs.dim() != 2:
            return
        for call in reversed(self.tap.recent):
            if call.position_of(inputs) is not None or call.rows == len(outputs):
                call.log_probs = outputs.detach()
                return

    @_guarded
    def gathered(self, values: Tensor, index: Tensor) -> None:
        """See `Watcher`."""
        if self._rests and torch.is_grad_enabled():
            return
        for call in reversed(self.tap.recent):
            known = call.log_probs
            if known is not None and known.data_ptr() == values.data_ptr():
                if index.dim() == 2 and index.shape[1] == 1 and len(index) == len(known):
                    call.targets = index.detach()[:, 0]
                return

    def _about_classes(self, call: LossCall) -> bool:
        """Read the first calls of a shape; the same answer then holds for the later ones."""
        key = (
            *(call.name, call.inputs.dim(), call.inputs.shape[1:], call.targets.dim()),
            call.targets.is_floating_point(),
        )
        known = self._looked.get(key, 0)
        if isinstance(known, int) and known < LOOKS:
            answer = read_loss(call, look=True)
            known = self._looked[key] = answer if isinstance(answer, str) else known + 1
            if torch.is_grad_enabled():
                self._tell_fact(call, about_classes=not isinstance(answer, str))
        if isinstance(known, str):
            self.facts.refused[known] += 1
            return False
        return True

    def _tell_fact(self, call: LossCall, *, about_classes: bool) -> None:
        """A loss that cannot teach is a fact: no test has to wait for what becomes of it."""
        if self.findings:
            return
        found: Finding | None = None
        if about_classes:
            shapes = spread_shapes(call)
            found = None if shapes is None else spread_finding(call.name, shapes, step=self.steps)
        elif (largest := class_ids_as_probabilities(call)) is not None:
            found = class_ids_finding(call.name, largest, step=self.steps)
        elif (largest := ids_spread_over_classes(call)) is not None:
            both = call.inputs.shape, call.targets.shape
            found = ids_over_classes_finding(call.name, both, largest, step=self.steps)
        if found is not None:
            self.findings.append(found)
            self._alarm(found)

    def _copy(self, record: LossRecord) -> None:
        """Copy what goes with a copied call; or by itself, when calls are never seen."""
        call = record.model_call
        number = None
        if call is not None and call.kept is not None:
            # The answers of a whole evaluation may be judged at once: no batch of one call.
            number = call.number if record.fits_call or record.gradients else None
        elif call is None and not self.tap.recent:
            number = self.reservoir.ticket(training=record.gradients)
        if number is not None:
            record.number = number
            record.copied = to_host(record.call.inputs), to_host(record.call.targets)

    # -- calls of networks, batches ------------------------------------------------------------

    @_guarded
    def _hook_before(self, module: nn.Module, args: tuple[Any, ...], kw: dict[str, Any]) -> None:
        if self._rests and torch.is_grad_enabled():
            if module is self.roots.root:
                self.facts.left_out += 1
                self.reservoir.pass_over()
            return
        call = self.tap.begin(module, args, kw)
        if call is None:
            return
        if not (call.gradients and call.training_mode):
            self._unanswered = False
        if call.gradients:
            stepped = self.other_steps.pass_begins(module)
            if stepped is not None:
                self._step_ends(stepped)
        self._flush_candidate()
        if module is self.roots.root and call.gradients:
            self.own_loss.begin()
            self.between.network_begins()
        self.own_loss.network_begins()
        if call.gradients and self.steps == 0:
            self.roots.remember_state(call.module)
        number = self.reservoir.ticket(training=call.gradients)
        if number is not None:
            call.number = number
            call.kept = (copied(args, to_host), copied(kw, to_host))

    @_guarded
    def _hook_after(
        self, module: nn.Module, args: tuple[Any, ...], kw: dict[str, Any], output: Any
    ) -> None:
        if self._rests and torch.is_grad_enabled():
            return
        call = self.tap.end(module, output)
        if call is None:
            return
        watched = module is self.roots.root and call.gradients
        answer = [one for one in tensors_in(output) if one.is_floating_point()] if watched else None
        self.own_loss.network_ends(answer)
        if answer:
            self.answers.network_answers(answer)
            if self.gradients.waits and answer[0].requires_grad:
                # A loss of the script's own is seen nowhere else.
                answer[0].register_hook(lambda _: self._backward_begins())  # type: ignore[no-untyped-call]
            self.leaves.network_answers(answer)
        call.targets = the_one(self._batch_targets, call.rows)
        if call.targets is None and call.scores(1) is not None:
            call.targets = the_one(self._binary_targets, call.rows)
        if not call.gradients:
            self._candidate = call
        elif len(self._calls) < LARGEST_WINDOW:
            self._calls.append(call)

    @_guarded
    def loader_made(self, loader: object) -> None:
        """See `Watcher`."""
        self.sites.remember(loader)

    @_guarded
    def loading_begins(self, loader: object) -> None:
        """See `Watcher`."""
        self._flush_candidate()
        self._rests = False  # what begins may be an evaluation, with gradients too
        self._loading = loader

    @_guarded
    def batch_loaded(self, batch: object) -> None:
        """See `Watcher`."""
        self._flush_candidate()
        if self._rests and torch.is_grad_enabled():
            self._batch_targets, self._binary_targets = (), ()
            return
        if self.roots.root is not None and torch.is_grad_enabled():
            self.own_loss.begin()
        self._look_at_unanswered()
        # A batch to evaluate: what is called for it may be a copy of the network, without a loss.
        self._unanswered = not torch.is_grad_enabled() or (
            self.loader is not None and self._loading is not self.loader
        )
        found = [one for kept in tensors_in(batch) if (one := plain(kept)) is not None]
        self._batch_targets = tuple(one for one in found if one.dim() == 1 and not is_binary(one))
        self._binary_targets = tuple(
            one
            for one in found
            if is_binary(one) and one.dim() in (1, 2) and one.numel() == len(one)
        )

    def _flush_candidate(self) -> None:
        """An evaluation pass that no loss has taken: its targets are those of the batch."""
        call, self._candidate = self._candidate, None
        if call is None or call.used or call.targets is None:
            return
        if call.module is not self.roots.root:
            return
        reading = read_like(call, None if self.main is None else self.main.call)
        if reading is not None and self.feed.evaluate(reading, call):
            call.used = True
            self.facts.note(
                "Evaluation passes without a loss were watched by the network's output and the "
                "targets of the batch that the data loader yielded last."
            )
            self.feed.keep_call(call, reading, step=self.steps, training=False)

    # -- networks and optimizers ---------------------------------------------------------------

    @_guarded
    def module_made(self, module: nn.Module) -> None:
        """See `Watcher`."""
        self.sites.remember(module)

    @_guarded
    def state_offered(self, module: nn.Module, state: Mapping[str, Any]) -> Offer | None:
        """See `Watcher`."""
        return self.loads.offered(module, state, trained=self.steps > 0)

    @_guarded
    def state_loaded(self, token: Offer) -> None:
        """See `Watcher`."""
        self.loads.loaded(token)

    def module_state(self, module: nn.Module, state: Mapping[str, Any]) -> dict[str, Any]:
        """See `Watcher`."""
        return self.tap.without_hooks(module, state)

    @_guarded
    def compiled(self, target: object, result: object) -> None:
        """See `Watcher`. Hooks must be gone before anything is traced."""
        self.own_loss.give_up()
        if isinstance(target, nn.Module) and isinstance(result, nn.Module):
            self.roots.replace(target, result)
        else:
            self.tap.keep_only(None)

    @_guarded
    def optimizer_made(self, optimizer: Optimizer) -> None:
        """See `Watcher`."""
        self.facts.optimizers += 1
        self.sites.remember(optimizer)
        self.roots.add_optimizer(optimizer)

    @_guarded
    def step_ends(self, optimizer: Optimizer) -> None:
        """See `Watcher`."""
        self._step_ends(optimizer)

    @_guarded
    def fastai_optimizer_made(self, optimizer: Any) -> None:
        """See `Watcher`."""
        self.other_steps.fastai_made(optimizer)

    @_guarded
    def fastai_step_ends(self, optimizer: object) -> None:
        """See `Watcher`."""
        self._step_ends(self.other_steps.fastai_stepped(optimizer))

    def _step_ends(self, optimizer: Optimizer) -> None:
        self._scaler_stepped = True
        self.clips.step_ends()
        self.facts.stepped[id(optimizer)] += 1
        self._flush_candidate()
        self._look_at_unanswered()
        if self._rests and not self._calls and not self.window.waiting:
            if optimizer is self.roots.optimizer:
                self._advance(optimizer)
            return
        hand_written = self._read_by_hand()
        # Where the network was called for a loss of the script's own, losses that were computed
        # without gradients were not meant to train.
        to_train = not hand_written or any(one.gradients for one in self.window.waiting)
        records = self.window.settle(stepped=to_train)
        self._choose(optimizer, records, [call for call, _ in hand_written])
        self._close_trace(records, [call for call, _ in hand_written])
        if not self.roots.owns(optimizer):
            self.facts.other_models += len(records.training())
            for record, training in records.records:
                if not training:
                    self._evaluate(record)
            return
        fed = self._feed(records)
        self.facts.unreached += fed and not records.reached
        fed = fed or self._feed_by_hand(hand_written)
        if optimizer is self.roots.optimizer or fed:
            self._advance(optimizer)

    def _close_trace(self, records: Sorted, by_hand: list[ModelCall]) -> None:
        root = self.roots.root
        if root is None:
            self.own_loss.leave()
            return
        training = records.training()
        targets: Tensor | None = by_hand[0].targets if by_hand else None
        if training:
            targets = training[0].call.targets
        value = training[0].value if training else None
        passes = max(len(training), len(by_hand))
        self.answers.step_ends(targets)
        self.own_loss.step_ends(root, targets, value, passes=passes)

    @_guarded
    def scaled(self, loss: object, result: object) -> None:
        """See `Watcher`."""
        self.own_loss.scaled(loss, result)
        self.clips.scaled(loss, result)

    @_guarded
    def unscaled(self) -> None:
        """See `Watcher`."""
        self.clips.unscaled()

    @_guarded
    def clipped(self, kind: ClipKind, limit: Any, norm_type: Any, norm: object) -> None:
        """See `Watcher`."""
        self.clips.clipped(kind, limit, norm_type, norm)

    @_guarded
    def scaler_begins(self) -> None:
        """See `Watcher`."""
        self._scaler_stepped = False

    @_guarded
    def scaler_ends(self) -> None:
        """See `Watcher`."""
        if not self._scaler_stepped:
            self.facts.skipped += 1
            self._settle_without_step()

    def _choose(
        self, optimizer: Optimizer | None, records: Sorted, by_hand: list[ModelCall]
    ) -> None:
        if self.roots.root is not None:
            return
        calls = [one.model_call for one in records.training() if one.model_call is not None]
        if calls or by_hand or records.records:
            self.roots.choose(optimizer, calls or by_hand, recent=self.tap.recent)

    def _advance(self, optimizer: Optimizer) -> None:
        if self.steps == 0:
            self.training_began = time.perf_counter()
            self.seconds_before_training = self.seconds
        rate = _rate(optimizer)
        if rate is not None and (not self.rates or self.rates[-1][1] != rate):
            self.rates.append((self.steps, rate))
        if self.other_steps.by_hand(optimizer):
            self.gradients.after_own_step(optimizer)
        else:
            self.gradients.after_step(optimizer, self.steps, self.roots.root)
            self.between.after_step(optimizer)
        self.steps += 1
        if self.feed.monitor is not None:
            self.feed.monitor.advance(learning_rate=rate)
        self._look_at_labels(ended=False)
        self._rests = not self._evaluates_with_gradients and self.rhythm.rests(
            self.steps, self.seconds
        )
        if self._after_step is not None:
            self._after_step()
        if self._stop_after_steps is not None and self.steps >= self._stop_after_steps:
            raise StoppedRun(0, f"stopped after {self.steps} steps to check")

    def _look_at_labels(self, *, ended: bool) -> None:
        found = self.first_labels.look(self.feed, self.loader, step=self.steps, ended=ended)
        if found is not None and not self.findings:
            self.findings.append(found)
            self._alarm(found)

    # -- feeding -------------------------------------------------------------------------------

    def _settle_without_step(self, *, all_but_last: bool = False) -> None:
        records = self.window.settle(stepped=False, all_but_last=all_but_last)
        self._choose(None, records, [])
        self._feed(records)
        self._calls = []

    def _feed(self, records: Sorted) -> bool:
        """Give the losses of a window to the monitor. Returns whether one was of training."""
        training_losses = records.training()
        own = tuple(one for one in training_losses if self._of_root(one))
        self.facts.other_models += len(training_losses) - len(own)
        self.main, chosen = main_losses(own, self.main, self.facts)
        for one in chosen[-1:]:
            self.class_weights = one.call.options.get("weight")
        fed = False
        for record, training in records.records:
            if not training:
                self._evaluates_with_gradients |= record.gradients
                self._evaluate(record)
            elif any(record is one for one in chosen):
                fed = self._train(record) or fed
        return fed

    def _of_root(self, record: LossRecord) -> bool:
        root, call = self.roots.root, record.model_call
        if root is None or not self.tap.tracks(root):
            return True
        return call is None or call.module is root

    def _train(self, record: LossRecord) -> bool:
        reading = read_loss(record.call, look=False)
        if isinstance(reading, str):
            return False
        self.feed.train(reading, record.mean_loss(), record.model_call, step=record.step)
        self.feed.keep(record, training=True)
        return True

    def _read_by_hand(self) -> list[tuple[ModelCall, Reading]]:
        """Calls since the last step whose answers no loss of torch's has taken."""
        root = self.roots.root
        own = [one for one in self._calls if root is None or one.module is root]
        self._calls = []
        read = [(one, self.by_hand.read(one)) for one in own]
        return [(call, reading) for call, reading in read if reading is not None]

    def _feed_by_hand(self, passes: list[tuple[ModelCall, Reading]]) -> bool:
        """Training passes without a loss of torch's: the network's output, the batch's targets."""
        for call, reading in passes:
            how = "the network's output" if call.log_probs is None else "its log-probabilities"
            self.loader = self.loader or self._loading
            self.facts.note(
                f"The loss is written by hand: watched are {how} and the targets found in the "
                "batch."
            )
            self.feed.train(reading, None, call, step=self.steps)
            self.feed.keep_call(call, reading, step=self.steps, training=True)
        return bool(passes)

    def _evaluate(self, record: LossRecord) -> None:
        root, call = self.roots.root, record.model_call
        if root is not None and self.tap.tracks(root) and (call is None or call.module is not root):
            self.facts.other_models += 1
            if call is None and all(one.gradients for one in self.tap.recent):
                self._look_at_copies(root)
            return
        main = -1 if self.main is None else self.main.position
        if record.position != main and -1 not in (record.position, main):
            return  # an auxiliary head
        reading = read_loss(record.call, look=False)
        if not isinstance(reading, str) and self.feed.evaluate(reading, call):
            self.feed.keep(record, training=False)
            self.feed.keep_parts(record)

    def _look_at_unanswered(self) -> None:
        root, unanswered = self.roots.root, self._unanswered
        self._unanswered = False
        if unanswered and root is not None and self.tap.tracks(root):
            self._look_at_copies(root)

    def _look_at_copies(self, root: nn.Module) -> None:
        start = self.roots.initial_state
        found = None if start is None else self.copies.look(root, start, step=self.steps)
        if found is not None and not self.findings:
            self.findings.append(found)
            self._alarm(found)

    def _make_monitor(self, reading: Reading) -> Monitor:
        names = class_names(self.loader)
        root, optimizer = self.roots.root, self.roots.optimizer
        watched = root is not None and optimizer is not None
        return Monitor(
            classes=names if names and len(names) == reading.scores.shape[1] else None,
            steps_per_epoch=passes_an_epoch(self.loader),
            model=root if watched else None,
            optimizer=optimizer if watched else None,
            on_finding=self._alarm,
        )

    def _alarm(self, finding: Finding) -> None:
        if self._on_alarm is not None:
            self._on_alarm(finding)
        if self._stop_on_collapse and not self._ending:
            raise StoppedRun(1, f"stopped at step {finding.seen_step:,}: {finding.id}")

    @_guarded
    def _end(self) -> None:
        self._flush_candidate()
        self._look_at_unanswered()
        self._settle_without_step()
        failed = self.failed
        if failed is not None:
            # The loss raised: its batch is the one to look at.
            if failed.model_call is not None and self.roots.root is None:
                self.roots.choose(None, [failed.model_call], recent=())
            self.main = self.main or failed
            self.feed.keep(failed, training=True)
        if self.feed.monitor is not None:
            self.feed.monitor.end_evaluation()
        self._look_at_labels(ended=True)


def _rate(optimizer: Optimizer) -> float | None:
    """Of the first group; None for a tensor on a device, which would have to be waited for."""
    rate = optimizer.param_groups[0].get("lr")
    if isinstance(rate, Tensor) and rate.device.type != "cpu":
        return None
    return None if rate is None else float(rate)
