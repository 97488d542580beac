"""Prediction sets as seen: sizes counted, coverage by class, what has no guarantee."""

from __future__ import annotations

from everyclass.calibrations import ClassCoverage, SetEvaluation
from everyclass.stats.intervals import wilson_interval
from everyclass.terminal.prediction_sets import coverage_lines, sets_lines
from everyclass.workflows.predict import PredictedSets


def predicted(*sizes: tuple[int, int]) -> PredictedSets:
    return PredictedSets(coverage=0.9, sizes=sizes, in_every_set=(), sentence="Promised.")


def covered(name: str, hits: int, n: int, *, guaranteed: bool = True) -> ClassCoverage:
    low, high = wilson_interval(hits, n)
    return ClassCoverage(
        name=name,
        calibration_n=50 if guaranteed else 3,
        threshold=0.4 if guaranteed else 0.0,
        guaranteed=guaranteed,
        n=n,
        covered=hits,
        coverage=hits / n if n else None,
        coverage_ci95=(float(low), float(high)) if n else None,
    )


def evaluated(*classes: ClassCoverage, same_images: bool = False) -> SetEvaluation:
    n = sum(one.n for one in classes)
    return SetEvaluation(
        coverage=0.9,
        images_needed=9,
        classes=classes,
        sizes=((1, n // 2), (2, n - n // 2)),
        same_images=same_images,
    )


def test_sizes_are_counted_and_large_ones_together() -> None:
    # Mean (1 x 1 + 2 x 2 + 3 x 1 + 4 x 1 + 5 x 2 + 7 x 1)/8 = 29/8.
    text = sets_lines(predicted((1, 1), (2, 2), (3, 1), (4, 1), (5, 2), (7, 1))).plain
    assert text == (
        "Sets at 90 % coverage: 1 class in 1 image, 2 in 2, 3 in 1, 4 in 1, 5 or more in 3 "
        "(mean 3.62).\nPromised."
    )
    assert "2 classes in 1,200 images (mean 2.00)" in sets_lines(predicted((2, 1200))).plain


def test_no_readable_image_no_sets() -> None:
    assert sets_lines(predicted()).plain == "Sets at 90 % coverage: none.\nPromised."


def test_each_class_has_its_coverage_and_a_low_one_is_yellow() -> None:
    # 60 of 100: Wilson up to .69, below .9. 8 of 10: up to .94, chance explains it.
    line = coverage_lines(evaluated(covered("cat", 60, 100), covered("[red]ox", 8, 10)))
    assert line.plain == (
        "Sets at 90 % coverage: 1.50 classes in the mean, with the right one for 0.62 of the "
        "images; by class: cat 0.60, [red]ox 0.80."
    )
    styled = [line.plain[span.start : span.end] for span in line.spans if span.style == "yellow"]
    assert styled == ["cat 0.60"]


def test_classes_without_a_guarantee_are_named() -> None:
    line = coverage_lines(
        evaluated(covered("cat", 9, 10), covered("gnu", 4, 4, guaranteed=False), covered("", 0, 0))
    )
    assert line.plain.endswith(
        "by class: cat 0.90, gnu 1.00. In every set, for fewer than 9 validation images: 'gnu'."
    )


def test_the_same_images_are_told() -> None:
    line = coverage_lines(evaluated(covered("cat", 9, 10), same_images=True))
    assert "The thresholds come from validation images among these." in line.plain


def test_of_many_classes_the_least_covered_is_named() -> None:
    classes = [covered(f"k{i}", 99 - i, 100) for i in range(30)]
    text = coverage_lines(evaluated(*classes)).plain
    # k29 has 70 of 100. Wilson's upper end is below .9 up to 83 of 100 (.891; 84: .899; 85: .907):
    # 84 down to 70.
    assert "; least 'k29', 0.70 of 100; 15 classes below it by more than chance." in text
