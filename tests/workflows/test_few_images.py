"""When a split is too small to tell: the number, and the advice."""

from __future__ import annotations

from everyclass.images.table import ImageTable
from everyclass.stats.intervals import widest_interval, wilson_interval
from everyclass.workflows.few_images import LEAST_IMAGES, WIDEST, advice, few_in_one_split


def table_of(counts: dict[str, tuple[int, int]]) -> ImageTable:
    """Class -> training and validation images."""
    labels, splits = list[int](), list[str]()
    for k, (train, val) in enumerate(counts.values()):
        labels += [k] * (train + val)
        splits += ["train"] * train + ["val"] * val
    return ImageTable.from_lists(
        [f"{i}.png" for i in range(len(labels))], labels, classes=tuple(counts), splits=splits
    )


def test_the_number_is_where_the_widest_interval_falls_below_the_limit() -> None:
    def widest(n: int) -> float:
        ends = wilson_interval(range(n + 1), [n] * (n + 1))
        return float((ends[:, 1] - ends[:, 0]).max())

    assert widest(LEAST_IMAGES) <= WIDEST < widest(LEAST_IMAGES - 1)
    for n in (2, 10, 40):  # even: one half can be had
        assert abs(widest_interval(n) - widest(n)) < 1e-12


def test_the_advice_names_classes_the_number_and_the_command() -> None:
    told = advice(table_of({"ash": (200, 40), "cedar": (12, 3)}), source="cells.csv")
    assert told == (
        "'cedar' has fewer than 21 validation images (the fewest: 3): the 95 % interval of its "
        "recall there can be 0.75 wide. To judge every class on all of its images: everyclass "
        "crossval cells.csv",
    )
    (both,) = advice(table_of({"ash": (200, 20), "cedar": (12, 3)}), source="cells.csv")
    assert both.startswith("'ash', 'cedar' have fewer than 21 validation images")


def test_there_is_no_advice_where_every_class_has_enough() -> None:
    assert advice(table_of({"ash": (200, 40), "cedar": (90, 21)}), source="x") == ()
    # A class without images has none to judge anywhere.
    assert advice(table_of({"ash": (200, 40), "cedar": (0, 0)}), source="x") == ()


def test_classes_that_one_split_judges_on_too_few() -> None:
    found = few_in_one_split(("a", "b", "c"), (1000, 100, 0), fraction=0.15)
    assert found == (("b", 15),)
