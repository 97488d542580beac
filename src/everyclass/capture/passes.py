"""Scores and targets of a training that shows only its model, its batches and its loss.

Comes in: a model, and each batch with what its step returned. Goes out: a `Reading` a pass. On the
first batch every module is hooked and the pair of output and targets that reproduces the loss is
chosen; from then on only the module it came from is hooked. Knows no framework and no monitor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor, nn

from everyclass.capture.losses import Reading
from everyclass.capture.pairs import (
    TARGET_NAMES,
    Path,
    could_be,
    in_unit_interval,
    path_in_words,
    read_loss_module,
    read_pair,
    reproduces,
    shapes_in_words,
    tensor_at,
    tensor_paths,
    within_classes,
)
from everyclass.diagnosis.case import LossName
from everyclass.errors import InputError
from everyclass.monitoring.measures import ScoreKind

Stage = Literal["training", "evaluation"]

_COLUMN_LOSS: Mapping[ScoreKind, LossName] = {
    "logits": "binary_cross_entropy_with_logits",
    "probabilities": "binary_cross_entropy",
    "scores": "mse_loss",
}
_OVERRIDE = (
    "Say where they are: module='name of a submodule', logits=a function of its output, "
    "targets=a function of the batch."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What somebody said about where scores and targets are; None is found out.

    Args:
        module: name of the submodule whose output holds the scores; "" for the model itself.
        logits: takes the scores, (B, C) or (B,) for two classes, out of what the module returned.
        targets: takes the targets out of a batch: (B,) class ids or (B, C) one-hot rows.
        kind: what the scores are.
    """

    module: str | None = None
    logits: Callable[[Any], Tensor] | None = None
    targets: Callable[[Any], Tensor] | None = None
    kind: ScoreKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleCall:
    """What one module was called with and returned.

    Args:
        name: in the model; "" is the model itself.
        inputs: positional ones by number, the others by name.
    """

    name: str
    module: nn.Module
    inputs: Mapping[int | str, Any]
    output: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """Where scores and targets of a stage come from, and how they are read.

    Args:
        module: name of the module; None for what the step returned.
        is_loss: the module is a loss: its inputs are scores and targets.
        scores: the way to the scores in the output.
        targets: the way to the targets in the batch.
        loss: by whose rules scores and targets are read.
        kind: of the scores, None for what `loss` implies.
    """

    module: str | None
    is_loss: bool = False
    scores: Path = ()
    targets: Path = ()
    loss: LossName = "cross_entropy"
    kind: ScoreKind | None = None


@dataclass(frozen=True, slots=True)
class _Candidate:
    choice: _Choice
    scores: Tensor
    targets: Tensor


class PassFinder:
    """Finds scores and targets of each pass of one model.

    Args:
        root: the model that is trained.
        lookup: what is known already.
    Raises:
        InputError: `lookup` names a submodule that the model does not have.
    """

    def __init__(self, root: nn.Module, *, lookup: Lookup) -> None:
        self.skipped = 0
        """Passes without a reading since the choice was made."""
        self._root = root
        self._lookup = lookup
        self._calls: list[ModuleCall] = []
        self._choices: dict[Stage, _Choice] = {}
        self._unlike: set[Stage] = set()
        self._hooks: dict[str, _Hook] = {}
        if lookup.module is not None and lookup.module not in dict(root.named_modules()):
            children = ", ".join(name for name, _ in root.named_children())
            raise InputError(
                f"The model has no submodule '{lookup.module}'.",
                remedy=f"Its children are: {children}.",
            )

    def begins(self, stage: Stage) -> None:
        """A batch comes: forget the last one, and hook what is needed."""
        self._calls.clear()
        searching = stage not in self._choices and (not self._choices or stage in self._unlike)
        if not searching or self._lookup.module is not None:
            chosen = {one.module for one in self._choices.values()}
            wanted = {"", *(name for name in (*chosen, self._lookup.module) if name is not None)}
        else:
            wanted = {name for name, _ in self._root.named_modules()}
        if wanted != set(self._hooks):
            self._hook(wanted)

    def close(self) -> None:
        """Remove all hooks."""
        self._hook(set())
        self._calls.clear()

    def root_call(self) -> ModuleCall | None:
        """The last call of the model itself since `begins`."""
        return next((one for one in reversed(self._calls) if one.name == ""), None)

    def found(
        self, stage: Stage, batch: Any, *, returned: Any = None, loss: Tensor | None = None
    ) -> Reading | None:
        """Scores and targets of the pass that `begins` announced; None when it made none.

        Args:
            batch: that the targets are looked for in.
            returned: what the step returned; `logits` in it are taken.
            loss: mean over the images of the batch, as the script computed it.
        Raises:
            InputError: on the first pass that is searched, when nothing fits or several things do.
        """
        calls = list(self._calls)
        self._calls.clear()
        choice = self._choices.get(stage)
        if choice is None:
            choice = self._known(calls, batch, returned)
            if choice is None and self._choices and stage not in self._unlike:
                # Only the modules of the other stage were hooked; the next pass is searched.
                self._unlike.add(stage)
                return None
            if choice is None:
                if not calls and returned is None:
                    return None
                choice = self._choose(calls, batch, returned, loss)
            self._choices[stage] = choice
        reading = self._follow(choice, calls, batch, returned)
        if reading is None:
            self.skipped += 1
        return reading

    # -- hooks ---------------------------------------------------------------------------------

    def _hook(self, wanted: set[str]) -> None:
        for name in set(self._hooks) - wanted:
            self._hooks.pop(name).remove()
        for name, module in self._root.named_modules():
            if name in wanted and name not in self._hooks:
                self._hooks[name] = _Hook(name, module, self._calls)

    # -- following a choice --------------------------------------------------------------------

    def _known(self, calls: Sequence[ModuleCall], batch: Any, returned: Any) -> _Choice | None:
        """The choice of the other stage, if it fits here too."""
        for choice in self._choices.values():
            if self._follow(choice, calls, batch, returned) is not None:
                return choice
        return None

    def _follow(
        self, choice: _Choice, calls: Sequence[ModuleCall], batch: Any, returned: Any
    ) -> Reading | None:
        mine = [one for one in reversed(calls) if one.name == choice.module]
        if choice.is_loss:
            readings = (read_loss_module(one.module, tuple(one.inputs.values())) for one in mine)
            return next((one for one in readings if one is not None), None)
        targets = self._targets_at(choice.targets, batch)
        if targets is None:
            return None
        for output in [returned] if choice.module is None else [one.output for one in mine]:
            scores = self._scores_at(choice.scores, output)
            if scores is None or not could_be(scores, targets):
                continue
            reading = read_pair(choice.loss, scores, targets)
            if isinstance(reading, Reading):
                return reading if choice.kind is None else replace(reading, kind=choice.kind)
        return None

    def _targets_at(self, path: Path, batch: Any) -> Tensor | None:
        if self._lookup.targets is not None:
            return self._lookup.targets(batch)
        return tensor_at(path, batch)

    def _scores_at(self, path: Path, output: Any) -> Tensor | None:
        if self._lookup.logits is not None:
            return self._lookup.logits(output)
        return tensor_at(path, output)

    # -- choosing ------------------------------------------------------------------------------

    def _choose(
        self, calls: Sequence[ModuleCall], batch: Any, returned: Any, loss: Tensor | None
    ) -> _Choice:
        given = self._lookup
        if given.logits is None and given.targets is None and given.module is None:
            for call in reversed(calls):
                if read_loss_module(call.module, tuple(call.inputs.values())) is not None:
                    return _Choice(module=call.name, is_loss=True)
        candidates = [
            _Candidate(_Choice(module=module, scores=path, targets=way), scores, targets)
            for module, output in self._sources(calls, returned)
            for path, scores in self._score_candidates(output)
            for way, targets in self._target_candidates(batch)
            if could_be(scores, targets)
        ]
        if not candidates:
            raise InputError(_nothing_fits(calls, batch), remedy=_OVERRIDE)
        if loss is not None:
            for one in candidates:
                how = reproduces(float(loss.detach()), one.scores.detach(), one.targets.detach())
                if how is not None:
                    return self._as_told(one.choice, *how)
        return self._by_rule(candidates)

    def _sources(
        self, calls: Sequence[ModuleCall], returned: Any
    ) -> Iterator[tuple[str | None, Any]]:
        """Outputs, the likeliest first: what the step says, the model's, the last module's."""
        given = self._lookup
        asked = given.module
        if asked is None and given.logits is not None:
            asked = ""
        if asked is None and tensor_at(("logits",), returned) is not None:
            yield None, returned
        last_first = list(reversed(calls))
        # A module without parameters (softmax, dropout) follows the one that matters.
        last_first.sort(key=lambda one: (one.name != "", not list(one.module.parameters())))
        for call in last_first:
            if asked is None or call.name == asked:
                yield call.name, call.output

    def _score_candidates(self, output: Any) -> Iterator[tuple[Path, Tensor]]:
        if self._lookup.logits is not None:
            yield (), self._lookup.logits(output)
            return
        named = tensor_at(("logits",), output)
        if named is not None:
            yield ("logits",), named
            return
        for path, tensor in tensor_paths(output):
            if tensor.is_floating_point():
                yield path, tensor

    def _target_candidates(self, batch: Any) -> Sequence[tuple[Path, Tensor]]:
        if self._lookup.targets is not None:
            return [((), self._lookup.targets(batch))]
        found = list(tensor_paths(batch))
        named = [one for one in found if one[0] and one[0][-1] in TARGET_NAMES]
        return named or found

    def _by_rule(self, candidates: Sequence[_Candidate]) -> _Choice:
        """Without a loss to compare with: the likeliest output, if its targets are unambiguous."""
        first = candidates[0].choice
        rivals = [
            one
            for one in candidates
            if (one.choice.module, one.choice.scores) == (first.module, first.scores)
        ]
        rivals = [one for one in rivals if within_classes(one.scores, one.targets)] or rivals
        if len({one.choice.targets for one in rivals}) > 1:
            where = ", ".join(path_in_words(one.choice.targets) for one in rivals)
            raise InputError(
                f"Several tensors of the batch could be the targets: {where}.",
                remedy="Say which: targets=lambda batch: batch[1].",
            )
        scores = rivals[0].scores
        if scores.dim() == 2 and scores.shape[1] > 1:
            return self._as_told(rivals[0].choice, "cross_entropy", None)
        if self._lookup.kind is None and in_unit_interval(scores):
            raise InputError(
                "The model has one output, all of it in [0, 1]: of a sigmoid, or logits?",
                remedy="Say which: kind='probabilities' or kind='logits'.",
            )
        return self._as_told(rivals[0].choice, "binary_cross_entropy_with_logits", None)

    def _as_told(self, choice: _Choice, loss: LossName, kind: ScoreKind | None) -> _Choice:
        """The choice with how it is read; what the user said goes before what was found."""
        told = self._lookup.kind
        if told is not None and loss == "cross_entropy":
            kind = told
        elif told is not None:
            loss = _COLUMN_LOSS[told]
        return replace(choice, loss=loss, kind=kind)


class _Hook:
    """The hooks before and after one module's forward; nothing of us stays in a saved model.

    Of a call within a call of the same module only the inner one counts: a distributed wrapper
    runs the whole training step through the forward of the model.
    """

    def __init__(self, name: str, module: nn.Module, calls: list[ModuleCall]) -> None:
        self._name = name
        self._module = module
        self._calls = calls
        self._inner: list[int] = []
        self._handles = (
            module.register_forward_pre_hook(self),
            module.register_forward_hook(self, with_kwargs=True),
        )

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def __call__(self, module: nn.Module, args: tuple[Any, ...], *after: Any) -> None:
        """Before the forward with its positional inputs; after it with the rest and the output."""
        if module is not self._module:  # a replica of another device, or a copy
            return
        if not after:
            self._inner.append(0)
            return
        inner = self._inner.pop() if self._inner else 0
        if self._inner:
            self._inner[-1] += 1
        if inner:
            return
        keywords, output = after
        inputs = {**dict(enumerate(args)), **keywords}
        self._calls.append(ModuleCall(name=self._name, module=module, inputs=inputs, output=output))

    def __reduce__(self) -> tuple[Any, ...]:
        return _no_hook, ()


def _no_hook() -> Callable[..., None]:
    return _unwatched


def _unwatched(*_: Any) -> None:
    """What remains of a hook in a copied or pickled model."""


def _nothing_fits(calls: Sequence[ModuleCall], batch: Any) -> str:
    outputs = [
        f"{one.name or type(one.module).__name__} {shapes_in_words(one.output)}"
        for one in reversed(calls)
    ]
    return (
        "No pair of an output (B, C) and targets (B,) was found. Outputs, the last first: "
        f"{', '.join(outputs[:3]) or 'none'}; in the batch: "
        f"{shapes_in_words(batch) or 'no tensor'}."
    )
