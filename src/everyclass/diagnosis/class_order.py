"""Decisions that stand for other classes than their numbers say.

Comes in: a `Lab`, a `Trainee` at the weights as they are. Goes out: the trainee with its decisions
read in another order, or `NotApplicable`. Trains nothing.
"""

from __future__ import annotations

from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.causes.evaluation import order_differs
from everyclass.diagnosis.lab import Lab
from everyclass.diagnosis.scores import score
from everyclass.diagnosis.trainee import Trainee
from everyclass.stats.confusion import best_matching

SOME = 16
"""Batches of training images that say how well the network does there."""


def read_in_order(lab: Lab, trainee: Trainee) -> None:
    """Each decision stands for the class that it fits best on evaluation images that judge nothing.

    Raises:
        NotApplicable: there are none, or the decisions are right as they stand.
    """
    if not lab.evaluation:
        raise NotApplicable("Too few evaluation images were captured.")
    confusion = score(trainee, lab.evaluation).confusion
    training = score(trainee, lab.parts.training[-SOME:]).confusion
    if not order_differs(confusion, training):
        raise NotApplicable("Decisions on evaluation images are no better in another order.")
    trainee.stands_for = tuple(int(one) for one in best_matching(confusion))
