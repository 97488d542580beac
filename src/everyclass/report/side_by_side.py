"""Finished runs side by side: what differs in their recipes and in what came of them.

Comes in: folders. Goes out: `SideBySide`. Draws nothing, trains nothing.

Figures compare where the same images were judged. Where both runs kept their answers, image by
image, a paired test says what is more than chance (`stats.paired`): each run against the first
named. Images are the same where their content is, so a folder that was moved is no other test set;
runs of earlier versions, which kept no content, are matched by path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from everyclass.errors import InputError
from everyclass.report.runs import RunFacts, read_run
from everyclass.stats.paired import PairedTest, paired_tests

LEVEL = 0.05
_Key = tuple[str, str, int]
"""Image, label, and how many of the same came before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One run against the first named.

    Attributes:
        second: its place among the runs.
        images: that both judged, with the same label.
        first_alone, second_alone: images that only one of them judged.
        relabelled: images that both judged, under different labels.
        tests: on all images, then by class; () without common images.
        why_not: why there is no test; "" where there is one.
    """

    second: int
    images: int = 0
    first_alone: int = 0
    second_alone: int = 0
    relabelled: int = 0
    tests: tuple[PairedTest, ...] = ()
    why_not: str = ""

    @property
    def balanced_gain(self) -> float | None:
        """What the second has over the first in the mean recall of the classes, on the common
        images; None without any. It has no test of its own."""
        gains = [one.gain for one in self.tests if one.name is not None]
        return sum(gains) / len(gains) if gains else None

    @property
    def same_images(self) -> bool:
        """Whether both were judged on the same images, under the same labels."""
        return self.images > 0 and not (self.first_alone or self.second_alone or self.relabelled)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "first": 0,
            "second": self.second,
            "same_images": self.same_images,
            "common_images": self.images,
            "first_alone": self.first_alone,
            "second_alone": self.second_alone,
            "relabelled": self.relabelled,
            "why_not": self.why_not,
            "balanced_gain": self.balanced_gain,
            "tests": [one.to_dict() for one in self.tests],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """Runs, what differs between them, and the tests.

    Attributes:
        differences: settings of which runs have different values, with the value in each; None
            where a run has no such setting.
        classes: of all runs, in the order of the first.
        pairs: each other run against the first.
    """

    runs: tuple[RunFacts, ...]
    differences: tuple[tuple[str, tuple[str | None, ...]], ...]
    classes: tuple[str, ...]
    pairs: tuple[Pair, ...]

    @property
    def figures_compare(self) -> bool:
        """Whether all were judged on the same images."""
        return all(one.same_images for one in self.pairs)

    def letter(self, place: int) -> str:
        """What a run is called in tables: A to Z, then A2 and so on."""
        around = place // 26
        return chr(ord("A") + place % 26) + (str(around + 1) if around else "")

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "figures_compare": self.figures_compare,
            "level": LEVEL,
            "runs": [_run_dict(one) for one in self.runs],
            "differences": [
                {"setting": name, "values": list(values)} for name, values in self.differences
            ],
            "pairs": [one.to_dict() for one in self.pairs],
        }


def compare_runs(folders: Sequence[Path]) -> SideBySide:
    """Read the folders and put them side by side.

    Raises:
        InputError: fewer than two runs, one named twice, or a folder that holds none.
    """
    if len(folders) < 2:
        raise InputError("One run alone has nothing to be compared with.", remedy="Name another.")
    twice = [one for one, n in Counter(path.resolve() for path in folders).items() if n > 1]
    if twice:
        raise InputError(f"{twice[0]} is named twice.", remedy="Name each run once.")
    runs = tuple(read_run(folder) for folder in folders)
    classes = tuple(dict.fromkeys(name for one in runs for name in one.classes))
    return SideBySide(
        runs=runs,
        differences=_differences(runs),
        classes=classes,
        pairs=_pairs(runs, classes),
    )


def _differences(runs: Sequence[RunFacts]) -> tuple[tuple[str, tuple[str | None, ...]], ...]:
    """Settings that two runs have with different values. What only one knows (a script has no
    recipe, one that is damaged has none left) is no difference."""
    names = dict.fromkeys(name for one in runs for name in one.settings)
    return tuple(
        (name, tuple(one.settings.get(name) for one in runs))
        for name in names
        if len({one.settings[name] for one in runs if name in one.settings}) > 1
    )


def _pairs(runs: Sequence[RunFacts], classes: Sequence[str]) -> tuple[Pair, ...]:
    """All are tested together, so that their p-values allow for the number of all looks."""
    matched = [_Matched(runs[0], one) for one in runs[1:]]
    testable = [one for one in matched if one.images]
    ids = {name: k for k, name in enumerate(classes)}
    tests = iter(paired_tests([one.answers(ids) for one in testable], classes=classes))
    return tuple(
        Pair(
            second=k,
            images=one.images,
            first_alone=one.first_alone,
            second_alone=one.second_alone,
            relabelled=one.relabelled,
            tests=next(tests) if one.images else (),
            why_not=one.why_not,
        )
        for k, one in enumerate(matched, start=1)
    )


class _Matched:
    """The images that two runs judged, row by row."""

    def __init__(self, first: RunFacts, second: RunFacts) -> None:
        self.first_alone = self.second_alone = self.relabelled = 0
        self._rows: list[tuple[int, int]] = []
        self._both = first, second
        lacking = [one.name for one in self._both if one.predictions is None]
        self.why_not = f"{lacking[0]} has no answers image by image" if lacking else ""
        if lacking:
            return
        by_content = first.by_content and second.by_content
        here, there = _keys(first, by_content), _keys(second, by_content)
        common = [key for key in here if key in there]
        self._rows = [(here[key], there[key]) for key in common]
        left = Counter(image for image, _, _ in here) - Counter(one for one, _, _ in common)
        right = Counter(image for image, _, _ in there) - Counter(one for one, _, _ in common)
        self.relabelled = (left & right).total()
        self.first_alone = left.total() - self.relabelled
        self.second_alone = right.total() - self.relabelled
        if not common:
            self.why_not = "no image was judged by both"

    @property
    def images(self) -> int:
        return len(self._rows)

    def answers(self, ids: dict[str, int]) -> tuple[Any, Any, Any]:
        """First right, second right, label, of each common image."""
        right = []
        for place, one in enumerate(self._both):
            assert one.predictions is not None
            rows = [pair[place] for pair in self._rows]
            right.append(one.predictions.answers[rows] == one.predictions.labels[rows])
        names = _labels(self._both[0])
        labels = np.array([ids[names[row]] for row, _ in self._rows], dtype=np.int64)
        return right[0], right[1], labels


def _labels(run: RunFacts) -> list[str]:
    assert run.predictions is not None
    return [run.predictions.classes[one] for one in run.predictions.labels]


def _keys(run: RunFacts, by_content: bool) -> dict[_Key, int]:
    """Rows by what names their image, their label, and how many such came before: a set may hold
    an image twice."""
    assert run.predictions is not None
    images = run.images if by_content else run.predictions.images
    seen: Counter[tuple[str, str]] = Counter()
    found: dict[_Key, int] = {}
    for row, (image, label) in enumerate(zip(images, _labels(run))):
        found[image, label, seen[image, label]] = row
        seen[image, label] += 1
    return found


def _run_dict(run: RunFacts) -> dict[str, Any]:
    evaluation = run.evaluation
    return {
        "folder": run.name,
        "kind": run.kind,
        "verdict": run.verdict,
        "sentence": run.sentence,
        "judged_on": run.judged_on,
        "evaluation": None if evaluation is None else evaluation.to_dict(),
        "classes": [
            {"name": name, "n": one.n, "recall": one.recall, "recall_ci95": one.ci95}
            for name, one in run.classes.items()
        ],
        "epochs": run.epochs,
        "steps": run.steps,
        "seconds": run.seconds,
        "repairs": run.repairs,
        "notes": list(run.notes),
    }
