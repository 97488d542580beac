"""Labels of the first epoch that are all the same: a fact that no test has to wait for.

Comes in: a `Feed`, once an epoch has gone by. Goes out: a finding, or nothing. Looks once.
"""

from __future__ import annotations

import torch

from everyclass.capture.facts import one_class_finding
from everyclass.capture.feed import LABELLED_STEPS, Feed
from everyclass.capture.loaders import passes_an_epoch
from everyclass.findings import Finding

LEAST_LABELS = 50
"""From which it counts that all are the same."""


class FirstLabels:
    """Looks at the labels once the first epoch is over; where its length is not known, at the end
    of the script: a sorted stream shows one class for a long time too."""

    def __init__(self) -> None:
        self._looked = False

    def look(self, feed: Feed, loader: object, *, step: int, ended: bool) -> Finding | None:
        """The finding, at most once.

        Args:
            feed: that got the labels.
            loader: of the training, None when not known.
            step: optimizer steps done.
            ended: the script is over.
        """
        if self._looked or not feed.labels:
            return None
        epoch = passes_an_epoch(loader)
        whole = ended and step <= LABELLED_STEPS  # of more steps not all labels are kept
        if not (len(feed.labels) >= epoch if epoch else whole):
            return None
        self._looked = True
        labels = torch.cat([one.flatten().cpu() for _, one in feed.labels])
        labels = labels[labels >= 0]
        if len(labels) < LEAST_LABELS or feed.columns < 2 or bool((labels != labels[0]).any()):
            return None
        return one_class_finding(
            int(labels[0]), images=len(labels), outputs=feed.columns, step=step
        )
