"""A cross-validation as seen: 80 columns, names as they are, what is not listed is said."""

from __future__ import annotations

import io

import numpy as np
from rich.cells import cell_len
from rich.console import Console

from everyclass.terminal.crossval import crossval_view
from everyclass.workflows.crossval_result import CrossValidation, OutOfFold, cross_validation

CLASSES = ("[red]paper", "trash")


def result_of(right: int, wrong: int, *, unsure: int = 0) -> CrossValidation:
    """Images of each class that the models agree with, that they firmly do not, and that they take
    for the other class with little confidence."""
    labels, probs = list[int](), list[tuple[float, float]]()
    for label in (0, 1):
        for count, own in ((right, 0.95), (wrong, 0.02), (unsure, 0.4)):
            labels += [label] * count
            pair = (own, 1 - own)
            probs += [pair if label == 0 else pair[::-1]] * count
    values = np.array(probs)
    names = tuple(f"{CLASSES[label]}/{k:04d}.png" for k, label in enumerate(labels))
    seen = OutOfFold(
        images=tuple(f"/data/{name}" for name in names),
        names=names,
        labels=np.array(labels),
        predicted=values.argmax(axis=1),
        folds=np.arange(len(labels)) % 2,
        probs=values,
        classes=CLASSES,
    )
    return cross_validation(seen, n_folds=2, settings={}, sentences=("All is said.",))


def shown(result: CrossValidation) -> str:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(crossval_view(result))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    return text


def test_names_are_never_markup_and_suspects_are_counted_by_pair() -> None:
    text = shown(result_of(60, 4))
    flat = " ".join(text.split())
    assert "2 folds: 128 images" in flat
    assert "All is said." in flat
    assert "8 labels of 128 may be wrong" in flat
    assert "[red]paper trash 4 [red]paper/0060.png" in flat
    assert "..." in text
    assert "The models agree with" not in flat  # 94 %
    assert "'trash' on about 10 (a 95 % interval up to 0.53 wide" in flat


def test_models_that_err_often_are_said_to() -> None:
    flat = " ".join(shown(result_of(60, 4, unsure=30)).split())
    assert "The models agree with 64% of all labels; where they err that often" in flat


def test_what_is_beyond_the_share_of_a_class_is_said() -> None:
    result = result_of(60, 40)
    listed = sum(one.given == "trash" for one in result.suspects)
    assert listed == 25  # a quarter of 100
    assert dict(result.not_listed) == {"[red]paper": 15, "trash": 15}
    flat = " ".join(shown(result).split())
    assert "at most 25% of a class are: '[red]paper' 15, 'trash' 15" in flat


def test_without_suspects_and_with_many_images_there_is_little_to_say() -> None:
    flat = " ".join(shown(result_of(200, 0)).split())
    assert "No label looks wrong." in flat
    assert "One split of 15% would have judged every class on 21 images or more." in flat
