"""Which correction of imbalance is best on *these* images? Train each, and compare.

Comes in: a data source, names of methods, a budget. Goes out: the figures of every run, with
intervals over the seeds, and a folder with the runs. Each method trains with the same recipe
otherwise, the same epochs, and, seed by seed, the same split and first weights. Nothing is repaired
on the way: what is compared is the method as it is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from everyclass.contracts import Evaluation
from everyclass.errors import EveryclassError, InputError
from everyclass.json_writer import json_text
from everyclass.run_folder import write_atomically
from everyclass.settings import check_wishes
from everyclass.stats.intervals import mean_interval
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.events import Event
from everyclass.workflows.job import InterruptedTraining
from everyclass.workflows.series import finished_run

FIGURES: tuple[tuple[str, str], ...] = (
    ("balanced_accuracy", "balanced accuracy"),
    ("macro_f1", "macro-F1"),
    ("worst_recall", "worst recall"),
    ("accuracy", "accuracy"),
)
"""What methods are compared by: key, and words."""

RESULT = "comparison.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodResult:
    """One method over the seeds.

    Attributes:
        name: as it was given.
        runs: a mapping a finished run, by the keys of `FIGURES`.
        failures: why a run did not finish, one sentence each.
    """

    name: str
    runs: tuple[Mapping[str, float], ...]
    failures: tuple[str, ...] = ()

    def mean(self, figure: str) -> float | None:
        """Over the finished runs; None without any."""
        values = self.values(figure)
        return sum(values) / len(values) if values else None

    def interval(self, figure: str) -> tuple[float, float] | None:
        """95 % interval of the mean over the seeds; None for fewer than two runs."""
        return mean_interval(self.values(figure))

    def values(self, figure: str) -> list[float]:
        """One a finished run."""
        return [run[figure] for run in self.runs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What came of it; its text is a table, best balanced accuracy first.

    Attributes:
        methods: in the order that they were given.
        epochs: of each run.
        seeds: runs a method.
        split: on which runs were judged.
    """

    methods: tuple[MethodResult, ...]
    epochs: int
    seeds: int
    split: str

    def __str__(self) -> str:
        ranked = sorted(self.methods, key=lambda one: -(one.mean(FIGURES[0][0]) or 0.0))
        rows = [("method", *(words for _, words in FIGURES))]
        rows += [(one.name, *(_cell(one, key) for key, _ in FIGURES)) for one in ranked]
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(widths[k]) for k, cell in enumerate(row)) for row in rows]
        lines.insert(1, "  ".join("-" * width for width in widths))
        failed = [f"{one.name}: {why}" for one in self.methods for why in one.failures]
        noun = "seed" if self.seeds == 1 else "seeds"
        epochs = "epoch" if self.epochs == 1 else "epochs"
        if self.seeds > 1:
            end = "mean and 95 % interval over the seeds"
        else:
            end = "one seed has no interval: differences may be luck"
        told = (
            f"{self.epochs} {epochs}, {self.seeds} {noun}, judged on the {self.split} split; {end}."
        )
        return "\n".join([*(line.rstrip() for line in lines), told, *failed])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "epochs": self.epochs,
            "seeds": self.seeds,
            "split": self.split,
            "methods": [
                {
                    "name": one.name,
                    "runs": [dict(run) for run in one.runs],
                    "failures": list(one.failures),
                    **{
                        key: {"mean": one.mean(key), "ci95": one.interval(key)}
                        for key, _ in FIGURES
                    },
                }
                for one in self.methods
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """Besides the data and the methods.

    Args:
        epochs: of each run.
        seeds: runs a method, with the seeds 0, 1, ...
        wishes: other settings, the same for all.
        cached: as in `TrainOptions`.
    """

    epochs: int
    seeds: int = 3
    wishes: Mapping[str, Any] = field(default_factory=dict)
    cached: bool = True


def compare(
    data: DataSource,
    methods: Sequence[str],
    *,
    out: Path,
    options: CompareOptions,
    on_run: Callable[[str, int], None] = lambda method, seed: None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Comparison:
    """Train every method with every seed, and judge each on the split that none was chosen on.

    Runs are kept in `out`, one folder each; a finished one is not trained again, an interrupted one
    goes on, so that the same call finishes what another began, or adds methods and seeds. The seeds
    come in turn, each with all methods: what is there after any of them is a fair comparison.

    Args:
        data: the images.
        methods: names of `--imbalance`, or `none`; several in one joined by `+`.
        out: folder of the runs and of `comparison.json`.
        options: budget and settings.
        on_run: told (method, seed) before each run.
        on_event: told what happens in each.
    Raises:
        InputError: an unknown method, one that corrects twice, bad data, or runs in `out` that were
            made otherwise.
        InterruptedTraining: call again to go on.
    """
    names = tuple(dict.fromkeys(methods))
    if not names or options.epochs < 1 or options.seeds < 1:
        raise InputError(
            f"{len(names)} methods, {options.epochs} epochs and {options.seeds} seeds were given; "
            "at least one of each is needed."
        )
    wishes = {name: _wishes(name, options) for name in names}
    found: dict[str, list[Evaluation]] = {name: [] for name in names}
    failures: dict[str, list[str]] = {name: [] for name in names}
    for seed in range(options.seeds):
        for name in names:
            on_run(name, seed)
            wished = {**wishes[name], "seed": seed}
            folder = out / name / f"seed-{seed}"
            try:
                run = finished_run(data, folder, wished, cached=options.cached, on_event=on_event)
                found[name].append(Evaluation.from_dict(run.read_json(run.evaluation)))
            except (InputError, InterruptedTraining):
                raise
            except EveryclassError as error:
                failures[name].append(f"seed {seed}: {error}")
        result = Comparison(
            methods=tuple(
                MethodResult(
                    name=name,
                    runs=tuple(_figures(one) for one in found[name]),
                    failures=tuple(failures[name]),
                )
                for name in names
            ),
            epochs=options.epochs,
            seeds=seed + 1,
            split=next((one.split for all_of in found.values() for one in all_of), "test"),
        )
        write_atomically(out / RESULT, json_text(result.to_dict()).encode())
    return result


def _wishes(method: str, options: CompareOptions) -> dict[str, Any]:
    parts = [] if method == "none" else method.split("+")
    own = {**options.wishes, "imbalance": parts, "epochs": options.epochs}
    return check_wishes(own, where=f"method {method}")


def _figures(evaluation: Evaluation) -> dict[str, float]:
    recalls = [one.recall for one in evaluation.classes if one.recall is not None]
    return {
        "balanced_accuracy": evaluation.balanced_accuracy,
        "macro_f1": evaluation.macro_f1,
        "worst_recall": min(recalls),
        "accuracy": evaluation.accuracy,
    }


def _cell(method: MethodResult, figure: str) -> str:
    mean, interval = method.mean(figure), method.interval(figure)
    if mean is None:
        return "failed"
    ends = "" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})"
    return f"{mean:.3f}{ends}"
