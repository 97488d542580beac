"""How well each class is recognised: figures, confusion, mistakes, slices, trust.

Comes in: contents of a run. Goes out: sections, or why there is none.
"""

from __future__ import annotations

from everyclass.contracts import ClassEvaluation, Evaluation
from everyclass.report.confusion import Cell, images_of, in_turns, matrix_of
from everyclass.report.contents import Contents
from everyclass.report.predictions import Predictions
from everyclass.report.reliability import is_off, reliability_chart
from everyclass.report.section import Absent, Section, Shot, shots_of
from everyclass.report.strips import difference_strip, recall_strip
from everyclass.report.thumbnails import Thumbnails
from everyclass.stats.confident import find_label_errors

SHOWN_CLASSES = 60
SHOWN_MISTAKES = 24
SHOWN_SUSPECTS = 24
SHOWN_RIGHT = 4  # of a class, the least confident ones
SHOWN_SLICES = 8
SHOWN_SIZES = 8
CONFUSION_SHARE = 0.8  # of what the limits leave after the sections before

_UNJUDGED = "the run is not finished: it has no evaluation.json that can be read"
_UNANSWERED = "the folder has no predictions.csv that can be read"


def classes_section(contents: Contents, _: Thumbnails) -> Section | Absent:
    """Every class with recall, precision and F1, with intervals."""
    evaluation = contents.evaluation
    if evaluation is None:
        return Absent(title="Classes", reason=_no_evaluation(contents))
    shown = ordered_by_recall(evaluation)[:SHOWN_CLASSES]
    return Section(
        id="classes",
        title="Every class",
        template="classes.html",
        values={
            "evaluation": evaluation,
            "rows": [
                (one, recall_strip(one.recall, one.recall_ci95, name=f"recall of {one.name}"))
                for one in shown
            ],
            "more": len(evaluation.classes) - len(shown),
            "trained": any(one.train_n is not None for one in evaluation.classes),
        },
    )


def ordered_by_recall(evaluation: Evaluation) -> list[ClassEvaluation]:
    """The lowest recall first; of equal ones the surer, with more images; those without go last."""
    return sorted(
        evaluation.classes, key=lambda one: (one.recall is None, one.recall or 0.0, -one.n)
    )


def confusion_section(contents: Contents, thumbnails: Thumbnails) -> Section | Absent:
    """The matrix, whose cells open their images."""
    evaluation, predictions = contents.evaluation, contents.predictions
    if evaluation is None:
        return Absent(title="Confusion matrix", reason=_no_evaluation(contents))
    matrix = matrix_of(evaluation)
    cells = matrix.cells()
    panels = [] if predictions is None else _panels(cells, predictions, thumbnails)
    embedded = sum(
        bool(shot.thumbnail.uri) for cell, shots in panels if not cell.is_right for shot in shots
    )
    return Section(
        id="confusion",
        title="What is taken for what",
        template="confusion.html",
        values={
            "matrix": matrix,
            "panels": panels,
            "open": {cell.id for cell, shots in panels if shots},
            "embedded": embedded,
            "largest": max((cell.n / cell.of for cell in matrix.pairs), default=1.0),
            "of_all": 0 if predictions is None else len(predictions.wrong),
            "split": evaluation.split,
            "why_none": _UNANSWERED if predictions is None else "",
        },
    )


def _panels(
    cells: list[Cell], predictions: Predictions, thumbnails: Thumbnails
) -> list[tuple[Cell, list[Shot]]]:
    """Each cell with as many of its images as fit, wrong ones first."""
    wrong = [cell for cell in cells if not cell.is_right]
    right = [cell for cell in cells if cell.is_right]
    panels: dict[str, list[Shot]] = {cell.id: [] for cell in cells}
    for chosen, most in ((wrong, None), (right, SHOWN_RIGHT)):
        queues = [images_of(cell, predictions)[:most] for cell in chosen]
        turns = in_turns(queues)
        wanted = [_said(predictions, row) for _, row in turns]
        shown = shots_of(wanted, thumbnails, share=CONFUSION_SHARE)
        for (place, _), shot in zip(turns, shown):
            if shot is not None:
                panels[chosen[place].id].append(shot)
    return [(cell, panels[cell.id]) for cell in cells]


def _said(predictions: Predictions, row: int) -> tuple[str, tuple[str, ...]]:
    return predictions.images[row], (f"confidence {predictions.confidence[row]:.2f}",)


def mistakes_section(contents: Contents, thumbnails: Thumbnails) -> Section | Absent:
    """The wrong answers that were given with the highest confidence."""
    title = "Most confident mistakes"
    predictions = contents.predictions
    if predictions is None:
        return Absent(title=title, reason=_no_answers(contents))
    wrong = predictions.wrong
    if not len(wrong):
        return Absent(title=title, reason="no image was given another class than its label")
    chosen = [int(row) for row in wrong[:SHOWN_MISTAKES]]
    shown = shots_of([_mistaken(predictions, row) for row in chosen], thumbnails)
    return Section(
        id="mistakes",
        title=title,
        template="mistakes.html",
        values={"shots": [one for one in shown if one is not None], "of": len(wrong)},
    )


def _mistaken(predictions: Predictions, row: int) -> tuple[str, tuple[str, ...]]:
    label = predictions.classes[int(predictions.labels[row])]
    answer = predictions.classes[int(predictions.answers[row])]
    return predictions.images[row], (
        f"labelled '{label}'",
        f"given '{answer}', {predictions.confidence[row]:.2f}",
    )


def suspects_section(contents: Contents, thumbnails: Thumbnails) -> Section | Absent:
    """Labels that are probably wrong, by confident learning on images the network did not learn."""
    title = "Suspected label errors"
    predictions, evaluation = contents.predictions, contents.evaluation
    if predictions is None or evaluation is None:
        return Absent(title=title, reason=_no_answers(contents))
    if evaluation.collapse != "healthy":
        # It doubts every label of a class that it never answers: that says nothing of the labels.
        return Absent(
            title=title,
            reason=f"the network is {evaluation.collapse}: its doubts say nothing of the labels",
        )
    found = find_label_errors(predictions.labels, predictions.probs)
    if not len(found.rows):
        return Absent(
            title=title,
            reason=f"none of the {len(predictions.images):,} images judged looks more like another "
            "class than like its label",
        )
    rows = [int(row) for row in found.rows[:SHOWN_SUSPECTS]]
    wanted = [
        (
            predictions.images[row],
            (
                f"labelled '{predictions.classes[int(predictions.labels[row])]}'",
                f"looks like '{predictions.classes[int(other)]}'",
            ),
        )
        for row, other in zip(rows, found.suggested)
    ]
    shown = shots_of(wanted, thumbnails)
    return Section(
        id="suspects",
        title=title,
        template="suspects.html",
        count=str(len(found.rows)),
        values={
            "shots": [one for one in shown if one is not None],
            "of": len(found.rows),
            "not_listed": int(found.not_listed.sum()),
            "judged": len(predictions.images),
            "split": evaluation.split,
            "balanced_accuracy": evaluation.balanced_accuracy,
        },
    )


def slices_section(contents: Contents, _: Thumbnails) -> Section | Absent:
    """Images with something in common that are recognised less often."""
    title = "Slices"
    evaluation = contents.evaluation
    if evaluation is None:
        return Absent(title=title, reason=_no_evaluation(contents))
    slices = evaluation.slices
    if slices is None:
        return Absent(title=title, reason="the run was evaluated without looking for slices")
    return Section(
        id="slices",
        title=title,
        template="slices.html",
        count=str(len(slices.shown)) if slices.shown else "",
        values={
            "slices": slices,
            "rows": [
                (one, difference_strip(one.difference, one.difference_interval, name=one.name))
                for one in slices.slices[:SHOWN_SLICES]
            ],
        },
    )


def trust_section(contents: Contents, _: Thumbnails) -> Section | Absent:
    """Calibration, and prediction sets."""
    title = "Calibration and sets"
    evaluation = contents.evaluation
    if evaluation is None:
        return Absent(title=title, reason=_no_evaluation(contents))
    charts = []
    before, after = evaluation.reliability_before_temperature, evaluation.reliability
    if before and evaluation.temperature != 1:
        charts.append(("before: temperature 1", before, evaluation.ece_before_temperature))
    if after:
        told = f"temperature {evaluation.temperature:.2f}"
        charts.append((f"after: {told}" if charts else told, after, evaluation.ece))
    sets = evaluation.prediction_sets
    if not charts and sets is None:
        return Absent(title=title, reason="the run was evaluated by a version without calibration")
    return Section(
        id="trust",
        title=title,
        template="trust.html",
        values={
            "evaluation": evaluation,
            "charts": [
                (
                    words,
                    error,
                    reliability_chart(bins, error=error, title=words),
                    sum(map(is_off, bins)),
                )
                for words, bins, error in charts
            ],
            "sets": sets,
            "sizes": [] if sets is None else _sizes(sets.sizes),
            "rows": []
            if sets is None
            else [
                (
                    one,
                    recall_strip(
                        one.coverage,
                        one.coverage_ci95,
                        name=f"coverage of {one.name}",
                        goal=sets.coverage,
                    ),
                )
                for one in sorted(sets.classes, key=lambda one: one.coverage or 0.0)[:SHOWN_CLASSES]
            ],
        },
    )


def _sizes(sizes: tuple[tuple[int, int], ...]) -> list[tuple[str, int, float]]:
    """(classes in the set, images, share of the longest bar); large sets together."""
    shown, rest = sizes[: SHOWN_SIZES - 1], sizes[SHOWN_SIZES - 1 :]
    rows = [(f"{size}", n) for size, n in shown]
    if rest:
        more = "" if len(rest) == 1 else " or more"
        rows.append((f"{rest[0][0]}{more}", sum(n for _, n in rest)))
    most = max((n for _, n in rows), default=1)
    return [(words, n, n / max(most, 1)) for words, n in rows]


def _no_evaluation(contents: Contents) -> str:
    if contents.kind == "script":
        return "a watched script is judged on its own training batches, in the time line"
    return _UNJUDGED


def _no_answers(contents: Contents) -> str:
    if contents.kind == "script":
        return "a watched script leaves no images and no predictions here"
    return _UNANSWERED if contents.evaluation is not None else _UNJUDGED
