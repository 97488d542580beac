"""What an audit comes to, in plain sentences, for somebody who has never trained a classifier.

Comes in: an `Audit` with its warnings. Goes out: sentences: whether figures can be trusted, what
guessing achieves, how precisely the rarest class can be measured, what the network will see.
"""

from __future__ import annotations

from everyclass.images.audit_values import Audit
from everyclass.images.readers_rules import plural
from everyclass.stats.intervals import wilson_interval


def say_meaning(audit: Audit) -> tuple[str, ...]:
    """What the audit comes to, for somebody who has never trained a classifier."""
    sentences = [*_on_trust(audit), *_on_guessing(audit), *_on_precision(audit)]
    sentences.append(_on_pixels(audit))
    return tuple(sentences)


def _on_trust(audit: Audit) -> list[str]:
    invalid = [warning.id for warning in audit.warnings if warning.harm == "invalid"]
    if invalid:
        return [
            "Figures measured on these data would mean something else than they seem to. Mend "
            f"{'this' if len(invalid) == 1 else 'these'} first: {', '.join(invalid)}."
        ]
    harmful = sum(warning.harm == "harmful" for warning in audit.warnings)
    cost = f"; {plural(harmful, 'fault')} may cost recall or images." if harmful else "."
    return [f"Nothing was found that makes measured figures worthless{cost}"]


def _on_guessing(audit: Audit) -> list[str]:
    counts, labelled = audit.train_counts, sum(audit.train_counts)
    if labelled == 0 or audit.effective_classes is None:
        return ["There are no labels: nothing is said about classes."]
    largest = max(range(len(counts)), key=lambda c: counts[c])
    present = sum(count > 0 for count in counts)
    if present == 1:
        return [f"Only '{audit.classes[largest]}' has training images: nothing to tell it from."]
    return [
        f"Answering '{audit.classes[largest]}' every time would be right for "
        f"{counts[largest] / labelled:.1%} of training images while recognising no other class "
        f"(balanced accuracy {1 / present:.1%}): judge by the recall of each class, not by "
        f"accuracy. The {present} classes are as hard to guess as {audit.effective_classes:.1f} "
        "equally frequent ones."
    ]


def _on_precision(audit: Audit) -> list[str]:
    part = audit.judging_split
    measured = [(n, c) for c, n in enumerate(part.counts) if n > 0] if part else []
    if part is None or not measured:
        return []
    n, c = min(measured)
    low, high = wilson_interval(n // 2, n)
    return [
        f"'{audit.classes[c]}' has {plural(n, 'image')} in {part.split}, the fewest there: its "
        f"recall will be known to within about {50 * (high - low):.0f} points either way (95% "
        "interval)."
    ]


def _on_pixels(audit: Audit) -> str:
    sizes, side = audit.sizes, audit.side
    mean, std = (
        ", ".join(f"{value:.3f}" for value in values) for values in (audit.mean, audit.std)
    )
    return (
        f"Images of {sizes.width.median:,} x {sizes.height.median:,} px (medians) become {side} x "
        f"{side}, with channel means {mean} and deviations {std} on a scale from 0 to 1: inputs "
        "must be normalised with these, which 'everyclass train' does."
    )
