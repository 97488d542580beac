"""Run in a peer's Python: the script with the peer attached.

    python -m peers.attach PEER SCRIPT [ARGS...]

Writes said.json into the working folder: what the peer said, and what failed. The script runs as
`__main__` under its own arguments; its exit code is this one's, unless the peer itself ended it.

What a user would write by hand at other places than the marked ones is done by wrapping functions
of torch while the script runs: the optimizer is the last one made, "after backward" is when
`Tensor.backward` returns, and an evaluation's mean loss is that of the loss functions called
without gradients since the last training batch. In a script of Hugging Face the marked place is
`Trainer.training_step`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peers.adapters.base import Adapter, Moment
from peers.inject import UnknownLoop, with_calls

LOSSES = (
    "cross_entropy",
    "nll_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "mse_loss",
    "multi_margin_loss",
)


class PeerFailed(Exception):
    """The peer raised an error of its own."""


class Watcher:
    """Turns the script's calls into the adapter's, one at a time."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.moment: Moment | None = None
        self.optimizer: torch.optim.Optimizer | None = None
        self.pending: float | None = None
        self.evaluation = [0.0, 0.0]  # sum of losses, images
        self.busy = False

    # -- called by the script --

    def batch(
        self,
        model: nn.Module,
        inputs: Callable[[], Tensor],
        targets: Tensor,
        loss_fn: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        """Before a forward pass."""
        if self.busy or not torch.is_grad_enabled():
            return
        self._evaluated()
        kind = "lightning" if hasattr(model, "training_step") else "loop"
        self._moment(model, inputs, targets, loss_fn, kind)

    def loss(self, value: Tensor) -> None:
        """Before a backward pass."""
        if not self.busy and torch.is_grad_enabled():
            self.pending = float(value.detach())

    # -- called by the wrapped functions --

    def hugging_face(self, model: nn.Module, inputs: dict[str, Any]) -> None:
        """A training step of its Trainer, whose model computes the loss from the labels."""
        self._evaluated()
        self._moment(
            model,
            lambda: inputs["pixel_values"],
            inputs["labels"],
            lambda output, targets: F.cross_entropy(output["logits"], targets),
            "huggingface",
        )

    def backward_done(self, loss: Tensor) -> None:
        """`Tensor.backward` returned."""
        if self.busy or self.moment is None:
            return
        if self.moment.kind == "huggingface":
            self.pending = float(loss.detach())
        if self.pending is not None:
            value, self.pending = self.pending, None
            moment = self.moment
            self._ask(lambda: self.adapter.backward(moment, value))

    def loss_function_done(self, value: Tensor, images: int, summed: bool) -> None:
        """A loss function returned; without gradients, that was an evaluation."""
        evaluation = self.moment is not None and not torch.is_grad_enabled()
        if evaluation and not self.busy and value.ndim == 0:
            self.evaluation[0] += float(value) * (1 if summed else images)
            self.evaluation[1] += images

    def end(self) -> None:
        """The script is over."""
        self._evaluated()
        self._ask(self.adapter.end)

    def _moment(
        self, model: nn.Module, inputs: Any, targets: Tensor, loss_fn: Any, kind: Any
    ) -> None:
        moment = Moment(
            step=0 if self.moment is None else self.moment.step + 1,
            model=model,
            inputs=inputs,
            targets=targets,
            loss_fn=loss_fn,
            optimizer=self.optimizer,
            kind=kind,
        )
        self.moment = moment
        self._ask(lambda: self.adapter.batch(moment))

    def _evaluated(self) -> None:
        total, images = self.evaluation
        if images and self.moment is not None:
            self.evaluation = [0.0, 0.0]
            moment = self.moment
            self._ask(lambda: self.adapter.evaluated(moment, total / images))

    def _ask(self, call: Callable[[], None]) -> None:
        """Call the adapter; what the peer itself calls of torch meanwhile is not the script's."""
        self.busy = True
        try:
            call()
        except Exception as error:  # whatever a peer raises is a result here
            if self.adapter.stopped(error):
                raise
            raise PeerFailed(_last_line(error)) from error
        finally:
            self.busy = False


@contextlib.contextmanager
def wrapped(watcher: Watcher, hugging_face: bool) -> Iterator[None]:
    """While open, torch tells the watcher."""
    with contextlib.ExitStack() as stack:
        for name in LOSSES:
            stack.enter_context(_replaced(F, name, _telling_loss(watcher, getattr(F, name))))
        backward = Tensor.backward

        @functools.wraps(backward)
        def told_backward(tensor: Tensor, *args: Any, **kwargs: Any) -> None:
            backward(tensor, *args, **kwargs)
            watcher.backward_done(tensor)

        stack.enter_context(_replaced(Tensor, "backward", told_backward))
        made = torch.optim.Optimizer.__init__

        @functools.wraps(made)
        def told_made(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            made(optimizer, *args, **kwargs)
            if not watcher.busy:
                watcher.optimizer = optimizer

        stack.enter_context(_replaced(torch.optim.Optimizer, "__init__", told_made))
        if hugging_face:
            from transformers import Trainer

            step = Trainer.training_step

            @functools.wraps(step)
            def told_step(trainer: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
                watcher.hugging_face(model, inputs)
                return step(trainer, model, inputs, *args, **kwargs)

            stack.enter_context(_replaced(Trainer, "training_step", told_step))
        yield


def _telling_loss(watcher: Watcher, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(function)
    def told(input: Tensor, target: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        value = function(input, target, *args, **kwargs)
        watcher.loss_function_done(value, len(input), kwargs.get("reduction") == "sum")
        return value

    return told


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def run(adapter: Adapter, script: Path) -> tuple[int, str]:
    """Run the script; its exit code, and why the peer failed ("" if it did not)."""
    text = script.read_text()
    hugging_face = "from transformers import" in text
    if not hugging_face:
        try:
            text = with_calls(text)
        except UnknownLoop as error:
            return 1, f"not attached: {error}"
    watcher = Watcher(adapter)
    code, failure = 0, ""
    with wrapped(watcher, hugging_face):
        try:
            main = types.ModuleType("__main__")
            main.__dict__.update(__file__=str(script), _watcher=watcher)
            sys.modules["__main__"] = main  # as runpy does: what the script defines is found there
            exec(compile(text, str(script), "exec"), main.__dict__)
        except PeerFailed as error:
            code, failure = 1, str(error)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except Exception as error:  # noqa: BLE001 - the script's own failure, or a peer's word
            if not adapter.stopped(error):
                traceback.print_exc()
                code = 1
        try:
            watcher.end()
        except PeerFailed as error:
            failure = failure or str(error)
    return code, failure


def _last_line(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()[-500:]


def main() -> None:
    name, script, *arguments = sys.argv[1:]
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).resolve().parent))
    said, code, failure = [], 1, ""
    try:
        module = importlib.import_module(f"peers.adapters.{name.replace('-', '_')}")
        adapter: Adapter = module.Adapter()
    except ImportError as error:
        failure = f"not imported: {_last_line(error)}"
    else:
        code, failure = run(adapter, Path(script))
        said = [asdict(one) for one in adapter.said]
    Path("said.json").write_text(json.dumps({"said": said, "failure": failure}))
    sys.stdout.flush()
    sys.exit(code)


if __name__ == "__main__":
    main()
