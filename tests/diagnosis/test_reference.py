"""Whether labels can be told from images, asked of a network of ours; and what follows of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from checks_zoo import batch, cnn, sgd
from torch import Tensor, nn
from torch.nn import functional

from everyclass.diagnoses import Diagnosis
from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.case import CapturedBatch, Case
from everyclass.diagnosis.diagnose import diagnose_case
from everyclass.diagnosis.reference import Reference, ask_reference


class Ticks:
    """Each look takes 4 ms."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.004
        return self.now


def captured(
    n: int = 24, *, first: int = 0, look: Callable[[Tensor], Tensor] = lambda x: x
) -> tuple[CapturedBatch, ...]:
    made = (batch(16, seed=seed) for seed in range(first, first + n))
    return tuple(CapturedBatch(args=(look(x),), targets=y) for x, y in made)


def mislabelled(batches: tuple[CapturedBatch, ...]) -> tuple[CapturedBatch, ...]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.cat([one.targets for one in batches if one.targets is not None])
    labels = labels[torch.randperm(len(labels), generator=generator)]
    return tuple(replace(one, targets=part) for one, part in zip(batches, labels.split(16)))


def blank(images: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(int(images.abs().sum() * 1e3) % 2**31)
    return 0.3 * torch.randn(images.shape, generator=generator)


def ask(batches: tuple[CapturedBatch, ...]) -> Reference:
    return ask_reference(batches[6:], batches[:6], n_classes=4, seed=0, seconds=0.9, clock=Ticks())


def diagnosed(
    training: tuple[CapturedBatch, ...],
    evaluation: tuple[CapturedBatch, ...] = (),
    model: nn.Module | None = None,
) -> Diagnosis:
    model = cnn() if model is None else model
    case = Case(
        model=model,
        optimizers=(sgd(model, 0.05),),
        loss_function=functional.cross_entropy,
        n_classes=4,
        batches=training,
        evaluation=evaluation,
        forwards=400,
        steps=400,
        rates=((0, 0.05),),
        initial_state={name: one.clone() for name, one in model.state_dict().items()},
        gradients_cleared=True,
    )
    return diagnose_case(case, verdict="not-learning", checks=(), budget_seconds=10, clock=Ticks())


def test_labels_that_images_show_are_told() -> None:
    found = ask(captured())
    assert found.tells
    assert not found.nothing
    assert found.held_out.balanced_accuracy > 0.9
    assert found.permuted is None  # nobody asks for memory where there is insight


def test_labels_of_other_images_are_learned_by_heart_and_no_further() -> None:
    found = ask(mislabelled(captured()))
    assert found.nothing
    assert found.by_heart is not None
    assert found.by_heart.balanced_accuracy > 0.9
    assert found.permuted is not None
    assert not found.permuted.recovered


def test_where_held_out_images_are_few_every_image_is_judged_by_a_network_that_did_not_see_it() -> (
    None
):
    wrong = mislabelled(captured(12, first=5))
    # Those that are trained on come twice: on both sides of a division they would be recognised.
    found = ask_reference(
        (*wrong[1:], *wrong[2:], wrong[1]), wrong[:1], n_classes=4, seed=0, seconds=4, clock=Ticks()
    )
    assert len(found.held_out.targets) == 16 * 12
    assert found.nothing
    assert found.held_out.balanced_accuracy < 0.4


def test_a_short_look_says_nothing() -> None:
    found = ask_reference(
        captured()[6:], captured()[:6], n_classes=4, seed=0, seconds=0.04, clock=Ticks()
    )
    short = ask_reference(
        mislabelled(captured())[6:],
        mislabelled(captured())[:6],
        n_classes=4,
        seed=0,
        seconds=0.2,
        clock=Ticks(),
    )
    assert max(found.passes, short.passes) < 80
    assert not found.nothing
    assert not short.nothing
    assert not short.little


def test_images_in_other_forms_are_read() -> None:
    flat = tuple(replace(one, args=(one.args[0].flatten(1),)) for one in captured())
    assert ask(flat).tells
    last = tuple(replace(one, args=(one.args[0].movedim(1, -1),)) for one in captured())
    assert ask(last).tells
    whole = tuple(
        replace(one, args=((100 * one.args[0]).round().clamp(0, 255).byte(),))
        for one in captured(look=lambda x: x - x.min())
    )
    assert ask(whole).tells
    with pytest.raises(NotApplicable, match="no images, one a row"):
        ask(tuple(replace(one, args=()) for one in captured()))


def test_an_augmentation_that_leaves_nothing_is_told_from_wrong_labels() -> None:
    seen = captured(24, first=50)
    augmented = diagnosed(captured(look=blank), seen)
    assert augmented.answer is not None
    assert (augmented.answer.id, augmented.answer.proved) == ("augmentation-too-strong", True)
    wrong = diagnosed(mislabelled(captured()), seen)
    assert wrong.answer is not None
    assert (wrong.answer.id, wrong.answer.proved) == ("labels-unrelated", True)
    remedies = {one.cause: one.sentence for one in (*augmented.remedies, *wrong.remedies)}
    assert "weaken the augmentation" in remedies["augmentation-too-strong"]
    assert "with their labels" in remedies["labels-unrelated"]


def test_a_network_that_is_too_small_is_suspected() -> None:
    class Narrow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.narrow = nn.Conv2d(3, 1, 1)
            self.fc = nn.Linear(1, 4)

        def forward(self, images: Tensor) -> Tensor:
            return self.fc((1e4 * self.narrow(images).mean((2, 3))).sin())

    told = diagnosed(captured(), model=Narrow())
    found = {one.id: one for one in told.causes}
    assert not any(one.proved for one in told.causes)
    assert found["model-too-small"].evidence["parameters"] == 12
    assert any("larger network" in one.sentence for one in told.remedies)
    assert "not what is in the way" in found["model-too-small"].sentence
    assert not any("not what is in the way" in one for one in told.notes)


def test_labels_that_lag_one_place_behind_are_found() -> None:
    late = tuple(
        replace(one, targets=one.targets.roll(1)) for one in captured() if one.targets is not None
    )
    diagnosis = diagnosed(late)
    assert diagnosis.answer is not None
    assert (diagnosis.answer.id, diagnosis.answer.proved) == ("labels-unrelated", True)
    assert diagnosis.answer.trial is not None
    assert diagnosis.answer.trial.change == "labels-one-back"
    assert diagnosis.answer.trial.changed > 0.8
    assert "one place behind" in diagnosis.remedies[0].sentence


def test_evaluation_images_scaled_otherwise_are_proved_on_the_weights_as_they_are() -> None:
    model = cnn()
    optimizer = sgd(model, 0.05)
    for one in captured(40):
        optimizer.zero_grad()
        functional.cross_entropy(model(one.args[0]), one.targets).backward()
        optimizer.step()
    case = Case(
        model=model,
        optimizers=(optimizer,),
        loss_function=functional.cross_entropy,
        n_classes=4,
        batches=captured(),
        evaluation=captured(24, first=50, look=lambda x: 0.01 * x - 3),
        steps=40,
        forwards=40,
        gradients_cleared=True,
    )
    diagnosis = diagnose_case(case, verdict="collapsed", checks=(), budget_seconds=5, clock=Ticks())
    assert diagnosis.answer is not None
    assert (diagnosis.answer.id, diagnosis.answer.proved) == ("train-eval-mismatch", True)
    assert diagnosis.answer.trial is not None
    assert diagnosis.answer.trial.steps == 0


def test_images_of_one_channel_in_the_channels_last_format() -> None:
    # Their strides are those of a format in which torch's convolutions have been seen to crash.
    generator = torch.Generator().manual_seed(0)
    seen = []
    for _ in range(12):
        targets = torch.randint(0, 4, (16,), generator=generator)
        images = torch.randn(16, 16, 16, 1, generator=generator) + targets[:, None, None, None]
        seen.append(CapturedBatch(args=(images.permute(0, 3, 1, 2),), targets=targets))
    found = ask_reference(seen[4:], seen[:4], n_classes=4, seed=0, seconds=2, clock=Ticks())
    assert found.held_out.recovered
