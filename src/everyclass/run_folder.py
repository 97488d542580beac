"""The folder of one training run: names, atomic writes, checkpoints with checksums, the log.

Comes in: values that turn into bytes. Goes out: files that are whole or absent, whenever the
process is killed. Knows neither torch nor what a checkpoint holds: it moves bytes.

```
recipe.yaml       every decision with its value, reason and origin
audit.json        what the audit saw
manifest.parquet  the rows in use: image, label, group, split, size, content hash, how it looks
environment.json  versions, device, threads
metrics.jsonl     one line an epoch (and a line every few steps)
checkpoints/      the last two states of training, and the best weights
model.safetensors model.json   the classifier
conformal.json    what validation images say of the probabilities: for prediction sets (--coverage)
evaluation.json   predictions.csv   how it does on images it was not selected on
reliability.png   their confidence against their accuracy, before and after the temperature
checks.json       what the exact checks saw before the first step
findings.json     what the watch saw while it trained
repairs.json      alarms that were answered: cause, old and new settings, reason; absent without any
diagnosis-1.json  what the first diagnosis found, trial by trial
recipe-1.yaml     the recipe that the training went on with; `recipe.yaml` stays what it was
metrics-1.jsonl   the log up to the first repair, with the epochs that it made void
tracking.json     where trackers keep this run (`--track`); tensorboard/ wandb/ are theirs
report.html       all of it to look at, in one file
model.onnx model.pt2 model.xml   the classifier for other programs (`everyclass export`)
checkpoints/repair-1/   states of the training since; those before stay where they are
```
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from everyclass.errors import EveryclassError, InputError
from everyclass.json_writer import json_text

KEPT_CHECKPOINTS = 2  # the newest, and one to fall back on if the newest is damaged on disk

_STARTED = "recipe.yaml"
_PREPARING, _PUBLISHING = ".preparing", ".publishing"
_WRITTEN = (
    *(_STARTED, "audit.json", "manifest.parquet", "environment.json", "metrics.jsonl"),
    *("checkpoints", "cache", "model.safetensors", "model.json"),
    *("evaluation.json", "predictions.csv", "checks.json", "findings.json"),
    *("conformal.json", "reliability.png", "report.html"),
    *("model.onnx", "model.int8.onnx", "model.pt2", "model.pt2.json", "model.xml", "model.bin"),
    *("tracking.json", "tensorboard", "wandb"),
    *("repairs.json", "diagnosis-[0-9]*.json", "recipe-[0-9]*.yaml", "metrics-[0-9]*.jsonl"),
)
"""What a run writes, as patterns, and so what --overwrite may remove."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader, or a crash, sees the old file or the new one.

    Temporary file in the same folder, fsync, rename, fsync of the folder (without the last one a
    power cut may forget the rename).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise EveryclassError(f"{path} could not be written: {error.strerror}.") from error
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # Windows cannot open a folder; there the rename alone must do.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _entries(path: Path) -> list[Path]:
    """What a folder holds besides a run being prepared; nothing when there is no folder."""
    return [entry for entry in path.iterdir() if entry.name != _PREPARING] if path.exists() else []


def _finish_publishing(path: Path) -> None:
    """Move a whole prepared run into a folder that is no run (any more), its recipe last.

    Two steps that a kill cannot confuse: first the old run's files go, then `.preparing` becomes
    `.publishing` and its files come. Files that are not a run's are left alone.
    """
    preparing, publishing = path / _PREPARING, path / _PUBLISHING
    if (preparing / _STARTED).exists() and not (path / _STARTED).exists():
        for old in [found for pattern in _WRITTEN for found in path.glob(pattern)]:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        os.replace(preparing, publishing)
    if publishing.exists():
        waiting = [entry.name for entry in publishing.iterdir()]
        for name in sorted(waiting, key=lambda name: name == _STARTED):
            os.replace(publishing / name, path / name)
        publishing.rmdir()
        _sync_folder(path)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run on disk. All paths below are inside `path`.

    Args:
        path: of the folder.
        repair: number of the diagnosis whose repair is being trained; 0 for the training as it
            began. Each has checkpoints of its own.
    """

    path: Path
    repair: int = 0

    def at_repair(self, number: int) -> RunFolder:
        """The same run, as its training goes on after that repair."""
        return replace(self, repair=number)

    @property
    def recipe(self) -> Path:
        """`recipe.yaml`; its presence is what makes a folder a run."""
        return self.path / _STARTED

    @property
    def followed_recipe(self) -> Path:
        """The recipe that the training goes on with: `recipe.yaml`, or that of the repair."""
        return self.recipe if not self.repair else self.path / f"recipe-{self.repair}.yaml"

    @property
    def repairs(self) -> Path:
        """`repairs.json`: alarms that were answered, and how."""
        return self.path / "repairs.json"

    def diagnosis(self, number: int) -> Path:
        """`diagnosis-1.json` and so on."""
        return self.path / f"diagnosis-{number}.json"

    @property
    def audit(self) -> Path:
        """`audit.json`."""
        return self.path / "audit.json"

    @property
    def manifest(self) -> Path:
        """`manifest.parquet`, the rows in use."""
        return self.path / "manifest.parquet"

    @property
    def environment(self) -> Path:
        """`environment.json`."""
        return self.path / "environment.json"

    @property
    def metrics(self) -> Path:
        """`metrics.jsonl`."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        whole = self.path / "checkpoints"
        return whole / f"repair-{self.repair}" if self.repair else whole

    @property
    def best_weights(self) -> Path:
        """Weights of the best epoch so far."""
        return self.checkpoints / "best.safetensors"

    @property
    def checks(self) -> Path:
        """`checks.json`: what the exact checks saw before the first step."""
        return self.path / "checks.json"

    @property
    def findings(self) -> Path:
        """`findings.json`: what the watch saw while it trained."""
        return self.path / "findings.json"

    @property
    def conformal(self) -> Path:
        """`conformal.json`: calibration scores for prediction sets; absent in earlier runs."""
        return self.path / "conformal.json"

    @property
    def reliability_figure(self) -> Path:
        """`reliability.png`."""
        return self.path / "reliability.png"

    @property
    def tracking(self) -> Path:
        """`tracking.json`: how trackers know this run; absent without `--track`."""
        return self.path / "tracking.json"

    @property
    def evaluation(self) -> Path:
        """`evaluation.json`."""
        return self.path / "evaluation.json"

    @property
    def predictions(self) -> Path:
        """`predictions.csv`."""
        return self.path / "predictions.csv"

    @property
    def store(self) -> Path:
        """Folder of the decoded images, removed when the run is finished."""
        return self.path / "cache"

    @classmethod
    def create(cls, path: Path, *, overwrite: bool = False) -> RunFolder:
        """A run to be prepared for `path`, in a hidden folder inside it, until `publish`.

        An earlier run at `path` stays untouched till then: input that turns out bad after minutes
        of auditing must not have cost it. Inside rather than beside it, because `path` may be a
        mounted volume, which cannot be renamed. What a killed preparation left is removed.

        Raises:
            InputError: `path` holds a run already, or files that are none of ours.
        """
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file.", remedy="Choose another --out.")
        _finish_publishing(path)
        if (path / _STARTED).exists() and not overwrite:
            raise InputError(
                f"{path} holds a run already.",
                remedy="Continue it with --resume, choose another --out, or add --overwrite.",
            )
        if not (path / _STARTED).exists() and _entries(path):
            raise InputError(
                f"{path} is not empty and holds no run.", remedy="Choose another --out."
            )
        preparing = path / _PREPARING
        shutil.rmtree(preparing, ignore_errors=True)
        try:
            preparing.mkdir(parents=True)
        except OSError as error:
            raise InputError(
                f"{path} cannot be created: {error.strerror}.", remedy="Choose another --out."
            ) from error
        return cls(preparing)

    def publish(self) -> RunFolder:
        """Put a prepared run, its recipe written, in the place of an earlier one.

        Killed in the middle, the next `create` or `open` finishes it.
        """
        path = self.path.parent
        assert (self.path / _STARTED).exists(), "a run without its recipe"
        (path / _STARTED).unlink(missing_ok=True)  # from here on, the prepared run is the run
        _finish_publishing(path)
        return RunFolder(path)

    def abandon(self) -> None:
        """Remove a prepared run, and the folder made for it; an earlier run stays."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()  # only when it is empty

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run at `path`.

        Raises:
            InputError: there is none.
        """
        if not path.exists():
            raise InputError(f"There is no folder {path}.", remedy="Name the folder of a run.")
        _finish_publishing(path)
        if not (path / _STARTED).exists():
            raise InputError(
                f"{path} is not a run: it has no {_STARTED}.",
                remedy="Name the folder that `everyclass train --out` wrote.",
            )
        return cls(path)

    @staticmethod
    def is_run(path: Path) -> bool:
        """Whether a run was begun at `path`; one that only waits to be published is."""
        if path.is_dir():
            _finish_publishing(path)
        return (path / _STARTED).exists()

    @staticmethod
    def in_preparation(path: Path) -> bool:
        """Whether a run was being prepared for `path` and never published."""
        return (path / _PREPARING).exists()

    def write_bytes(self, path: Path, content: bytes) -> None:
        """Write bytes atomically."""
        write_atomically(path, content)

    def write_text(self, path: Path, text: str) -> None:
        """Write text atomically."""
        write_atomically(path, text.encode())

    def write_json(self, path: Path, value: Any) -> None:
        """Write JSON atomically. NaN is refused: it is not JSON and other readers choke on it."""
        self.write_text(path, json_text(value, ascii_only=True))

    def read_json(self, path: Path) -> Any:
        """Read a JSON file of the run.

        Raises:
            InputError: it is missing or no JSON.
        """
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            raise InputError(
                f"{path} is missing.", remedy="The run stopped before it was written; --resume it."
            ) from None
        except ValueError as error:
            raise InputError(
                f"{path} is not valid JSON ({error}).", remedy="Restore it or train again."
            ) from error

    # -- the log -------------------------------------------------------------------------------

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one line to `metrics.jsonl`. A half-written last line is possible after a crash;
        `read_metrics` and `cut_metrics` skip it.
        """
        with open(self.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")

    def read_metrics(self) -> Iterator[dict[str, Any]]:
        """The lines of `metrics.jsonl`, whole ones only."""
        if not self.metrics.exists():
            return
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                yield json.loads(line)

    def cut_metrics(self, *, after_step: int) -> None:
        """Drop lines of steps later than `after_step`: a resumed run will write them again."""
        kept = [line for line in self.read_metrics() if line["step"] <= after_step]
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in kept)
        self.write_text(self.metrics, text)

    def keep_metrics(self, number: int) -> None:
        """Copy the log to `metrics-1.jsonl` and so on, before a repair makes a part of it void."""
        text = self.metrics.read_text(encoding="utf-8") if self.metrics.exists() else ""
        self.write_text(self.path / f"metrics-{number}.jsonl", text)

    # -- checkpoints ---------------------------------------------------------------------------

    def save_checkpoint(
        self, step: int, save: Callable[[io.BytesIO], None], *, keep: Collection[int] = ()
    ) -> Path:
        """Write the checkpoint of `step` (`save` fills a buffer) and forget the oldest ones.

        The name holds the step and the first 16 hex digits of the SHA-256 of the content, so a
        damaged or half-copied file is recognised by itself.

        Args:
            keep: steps whose checkpoints are not forgotten, however old.
        """
        buffer = io.BytesIO()
        save(buffer)
        content = buffer.getvalue()
        name = f"step-{step:09d}-{hashlib.sha256(content).hexdigest()[:16]}.pt"
        path = self.checkpoints / name
        write_atomically(path, content)
        others = [file for file in self._checkpoints() if file != path]
        same_step = [file for file in others if _step_of(file) == step]
        older = [f for f in others if f not in same_step and _step_of(f) not in keep]
        for file in same_step + older[: -(KEPT_CHECKPOINTS - 1)]:
            file.unlink(missing_ok=True)
        return path

    def last_checkpoint(self) -> tuple[bytes, Path] | None:
        """Content of the newest checkpoint whose checksum holds; None when there is none."""
        for path in reversed(self._checkpoints()):
            content = _whole(path)
            if content is not None:
                return content, path
        return None

    def checkpoint_of(self, step: int) -> Path | None:
        """The whole checkpoint of that step, None when it is gone or damaged."""
        found = [path for path in self._checkpoints() if _step_of(path) == step]
        return next((path for path in found if _whole(path) is not None), None)

    def read_checkpoint(self, name: str) -> bytes:
        """Content of a checkpoint by its path inside the run.

        Raises:
            InputError: it is gone or damaged.
        """
        path = self.path / name
        content = _whole(path) if path.exists() else None
        if content is None:
            raise InputError(
                f"{path} is missing or damaged; the repaired training began from it.",
                remedy="Restore it, or train again with another --out.",
            )
        return content

    def _checkpoints(self) -> list[Path]:
        return sorted(self.checkpoints.glob("step-*.pt"))

    def clean(self) -> None:
        """Remove what only a running training needs: decoded images, leftovers of killed writes."""
        shutil.rmtree(self.store, ignore_errors=True)
        for leftover in self.path.rglob(".*.tmp"):
            leftover.unlink(missing_ok=True)


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[1])


def _whole(checkpoint: Path) -> bytes | None:
    """Its content, if the checksum in its name holds."""
    content = checkpoint.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    return content if digest == checkpoint.stem.rsplit("-", 1)[1] else None
