"""Trials on small trainings whose fault is known: what is proved, and that nothing is touched."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from checks_zoo import adam, batch, bn_cnn, cnn, sgd, train
from torch import Tensor, nn
from torch.nn import functional

from everyclass.diagnosis.alterations import rate_cause
from everyclass.diagnosis.answers import NotApplicable
from everyclass.diagnosis.case import CapturedBatch, Case, LossSpec
from everyclass.diagnosis.changes import changes
from everyclass.diagnosis.diagnose import diagnose_case
from everyclass.diagnosis.dropout import AlteredDropout
from everyclass.diagnosis.heldout import divide
from everyclass.diagnosis.judge import far_beyond
from everyclass.diagnosis.lab import Lab
from everyclass.diagnosis.material import Material
from everyclass.diagnosis.scores import Score, gain, score
from everyclass.diagnosis.sides import Sides
from everyclass.diagnosis.trainee import trainee_of
from everyclass.diagnosis.trials import TrialReport, run_trials
from everyclass.findings import CauseId, CheckResult

N_BATCHES = 24
NOT_SCALED = CheckResult(
    name="input-scale",
    outcome="issue",
    cause="inputs-not-scaled",
    evidence={"rms": 360.0},
    sentence="Inputs have mean 300.",
    remedy="Scale them.",
)


def captured(
    change: Callable[[Tensor], Tensor] = lambda x: x, *, n: int = N_BATCHES
) -> tuple[CapturedBatch, ...]:
    made = (batch(16, seed=seed) for seed in range(n))
    return tuple(CapturedBatch(args=(change(x),), targets=y) for x, y in made)


def case(
    model: nn.Module,
    *,
    lr: float = 0.05,
    batches: tuple[CapturedBatch, ...] | None = None,
    loss: Callable[[Any, Tensor], Tensor] = functional.cross_entropy,
    **options: Any,
) -> Case:
    known: dict[str, Any] = {
        "model": model,
        "optimizers": (sgd(model, lr),),
        "loss_function": loss,
        "n_classes": 4,
        "batches": captured() if batches is None else batches,
        "forwards": 120,
        "steps": 120,
        "rates": ((0, lr),),
        "initial_state": copy.deepcopy(model.state_dict()),
        "gradients_cleared": True,
    }
    return Case(**(known | options))


class Ticks:
    """A clock on which each look takes a while: what is tried depends on no machine's pace."""

    def __init__(self, seconds: float = 0.004) -> None:
        self.now, self.seconds = 0.0, seconds

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


def proved(report: TrialReport) -> set[str]:
    return {one.change for one in report.trials if one.proved}


def test_a_rate_too_low_is_proved_and_nothing_is_touched() -> None:
    given = case(bn_cnn(), lr=1e-6)
    model = given.model
    before = copy.deepcopy((model.state_dict(), given.optimizers[0].state_dict()))
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    report = run_trials(given, budget_seconds=12, clock=Ticks())
    assert torch.equal(torch.rand(2), expected)
    after = (model.state_dict(), given.optimizers[0].state_dict())
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert before[1] == after[1]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert report.reproduced
    assert proved(report)
    assert {cause for one in report.trials if one.proved for cause in one.causes} <= {
        "learning-rate-too-low"
    }
    best = next(one for one in report.trials if one.proved)
    assert best.ci95[0] > 0
    assert best.control < 0.5 < best.changed
    assert best.seeds == 2
    assert best.sham is not None
    assert best.permuted is not None
    assert max(best.sham, best.permuted) < 0.5


def test_how_far_to_go_with_a_rate_is_tried_too() -> None:
    report = run_trials(
        case(bn_cnn(), lr=1e-5),
        accused=["learning-rate-too-low"],
        budget_seconds=12,
        clock=Ticks(),
    )
    known = {one.change: one for one in report.trials}
    assert {"rate-ten-times", "rate-hundred-times"} <= set(known)
    best = report.trials[0]
    assert best.proved
    assert best.changed >= known["rate-ten-times"].changed


def test_a_rate_that_rises_late_is_proved() -> None:
    given = case(bn_cnn(), rates=((0, 0.05), (40, 20.0)), steps=80, forwards=80)
    report = run_trials(given, accused=["learning-rate-too-high"], budget_seconds=12, clock=Ticks())
    assert report.trials[0].change == "rate-capped"
    assert report.trials[0].proved


def test_sigmoids_in_a_row_are_proved() -> None:
    def layers(width: int) -> list[nn.Module]:
        return [nn.Linear(width, 32), nn.Sigmoid()]

    pixels = batch(1)[0].numel()
    hidden = [one for _ in range(6) for one in layers(32)]
    model = nn.Sequential(nn.Flatten(), *layers(pixels), *hidden, nn.Linear(32, 4))
    report = run_trials(
        case(model, lr=0.01), accused=["poor-initialisation"], budget_seconds=25, clock=Ticks()
    )
    assert report.trials[0].change == "hidden-relu"
    assert report.trials[0].proved
    assert isinstance(model[2], nn.Sigmoid)


def test_an_accused_cause_is_tried_first_and_ends_the_search() -> None:
    tried: list[str] = []
    given = case(cnn(), batches=captured(lambda x: x * 200 + 300), lr=0.01)
    report = run_trials(
        given,
        accused=["inputs-not-scaled"],
        budget_seconds=60,
        clock=Ticks(),
        on_trial=tried.append,
    )
    assert proved(report) == {"inputs-standardised"}
    assert set(tried) == {"control", "inputs-standardised"}


def test_an_optimizer_that_asks_for_the_loss_again_is_given_it() -> None:
    model = bn_cnn()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=1e-9, max_iter=2)
    given = case(model, optimizers=(optimizer,), rates=((0, 1e-9),), forwards=240)
    report = run_trials(given, budget_seconds=12, clock=Ticks())
    assert {cause for one in report.trials if one.proved for cause in one.causes} == {
        "learning-rate-too-low"
    }


def test_what_a_small_budget_leaves_untried_is_counted() -> None:
    given = case(bn_cnn(), lr=1e-9)
    small = diagnose_case(given, verdict="collapsed", checks=(), budget_seconds=1, clock=Ticks())
    assert not any(one.proved for one in small.causes)
    assert any("not tried: the budget was spent. A larger --budget" in one for one in small.notes)


def test_probabilities_before_the_loss() -> None:
    class Probabilities(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = cnn()

        def forward(self, images: Tensor) -> Tensor:
            return (0.1 * self.network(images)).softmax(dim=1)

    given = case(Probabilities(), lr=0.006, steps=None, forwards=None)
    diagnosis = diagnose_case(given, verdict="not-learning", clock=Ticks())
    answer = diagnosis.answer
    assert answer is not None
    assert (answer.id, answer.proved) == ("softmax-before-loss", True)
    assert "held-out images" in answer.sentence
    assert diagnosis.remedies[0].cause == "softmax-before-loss"
    value = diagnosis.to_dict()
    assert value["causes"][0]["trial"]["changed"] > value["causes"][0]["trial"]["control"]
    assert str(diagnosis).splitlines()[1].startswith("1. softmax-before-loss (proved)")


def mislabelled(batches: tuple[CapturedBatch, ...]) -> tuple[CapturedBatch, ...]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.cat([one.targets for one in batches if one.targets is not None])
    labels = labels[torch.randperm(len(labels), generator=generator)]
    parts = labels.split(16)
    return tuple(replace(one, targets=part) for one, part in zip(batches, parts))


def test_labels_of_other_images_are_called_unrelated() -> None:
    given = case(cnn(), batches=mislabelled(captured()), steps=400, forwards=400)
    diagnosis = diagnose_case(
        given, verdict="not-learning", checks=(), budget_seconds=20, clock=Ticks()
    )
    assert not any(one.proved for one in diagnosis.trials)
    assert diagnosis.answer is not None
    assert diagnosis.answer.id == "labels-unrelated"
    assert "of them by heart (" in diagnosis.answer.sentence


def test_a_fault_of_form_is_proved_even_where_labels_tell_nothing() -> None:
    raw = mislabelled(captured(lambda x: x * 200 + 300))
    given = case(cnn(), batches=raw, lr=0.05, steps=400, forwards=400)
    diagnosis = diagnose_case(
        given, verdict="collapsed", checks=[NOT_SCALED], budget_seconds=20, clock=Ticks()
    )
    assert [one.id for one in diagnosis.causes[:2]] == ["inputs-not-scaled", "labels-unrelated"]
    first = diagnosis.causes[0]
    assert first.proved
    assert first.trial is not None
    assert first.trial.judged_on == "trained"
    assert "by heart: held-out ones show no difference" in first.sentence


def test_a_training_that_is_well_proves_nothing() -> None:
    report = run_trials(case(bn_cnn()), budget_seconds=10, clock=Ticks())
    assert not report.reproduced
    assert proved(report) == set()
    assert any("leaves the collapse" in note for note in report.notes)


def test_what_cannot_be_copied_or_lacks_something_is_said() -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = cnn()

        def forward(self, images: Tensor) -> Tensor:
            return self.network(images)  # type: ignore[no-any-return]

        def __deepcopy__(self, memo: object) -> Stubborn:
            raise RuntimeError("not this one")

    report = run_trials(case(Stubborn()))
    assert report.trials == ()
    assert "cannot be copied (RuntimeError: not this one)" in report.notes[0]
    few = run_trials(case(cnn(), batches=captured(n=2)))
    assert "2 batches were captured" in few.notes[0]
    by_hand = run_trials(case(cnn(), loss_function=None))
    assert "The loss is not known" in by_hand.notes[0]


def test_two_accused_faults_are_proved_together() -> None:
    given = case(cnn(), lr=0.05, batches=captured(lambda x: x * 200 + 300), steps=1)
    accused: list[CauseId] = ["inputs-not-scaled", "step-not-taken"]
    report = run_trials(given, accused=accused, budget_seconds=60, clock=Ticks())
    proved = [one for one in report.trials if one.proved]
    assert [set(one.causes) for one in proved] == [set(accused)]
    alone = [one for one in report.trials if len(one.causes) == 1]
    assert {one.causes[0] for one in alone} == set(accused)
    assert not any(one.recovered for one in alone)


def test_held_out_images_are_never_trained_on() -> None:
    parts = divide(captured())
    assert len(parts.held_out) == N_BATCHES // 4
    assert len(parts.training) == N_BATCHES - N_BATCHES // 4
    # The same images again and again in other batches: then images are held out, not batches.
    images, labels = batch(256)
    again = tuple(
        CapturedBatch(args=(images[rows],), targets=labels[rows])
        for seed in range(20)
        for rows in [torch.randperm(256, generator=torch.Generator().manual_seed(seed))[:64]]
    )
    parts = divide(again)
    trained = {row.numpy().tobytes() for one in parts.training for row in one.args[0]}
    held = [row.numpy().tobytes() for one in parts.held_out for row in one.args[0]]
    assert not trained & set(held)
    assert len(held) == len(set(held))


def test_only_the_first_epoch_is_used_where_its_length_is_known() -> None:
    parts = divide(captured(), epoch=8)
    assert len(parts.training) + len(parts.held_out) == 8
    # The first eight were kept, then a sample: those of later epochs show the same images.
    numbers = [*range(8), 14, *range(16, 16 + N_BATCHES - 9)]
    sampled = tuple(replace(one, number=i) for one, i in zip(captured(), numbers))
    parts = divide(sampled, epoch=16)
    assert len(parts.training) + len(parts.held_out) == 9


@pytest.mark.parametrize(
    ("cause", "options"),
    [
        ("gradients-not-cleared", {"gradients_cleared": False}),
        ("step-not-taken", {"steps": 1}),
        ("step-not-taken", {"steps": 0}),
    ],
)
def test_the_control_has_the_fault_of_the_loop(cause: str, options: dict[str, Any]) -> None:
    given = case(cnn(), lr=0.05, **options)
    report = run_trials(given, accused=[cause], budget_seconds=60, clock=Ticks())  # type: ignore[list-item]
    assert report.reproduced
    assert {one.causes for one in report.trials if one.proved} == {(cause,)}


def test_a_proved_cause_that_a_check_accuses_goes_before_a_larger_gain() -> None:
    given = case(cnn(), batches=captured(lambda x: x * 200 + 300), lr=0.01)
    diagnosis = diagnose_case(
        given, verdict="collapsed", checks=[NOT_SCALED], budget_seconds=30, clock=Ticks()
    )
    assert [one.id for one in diagnosis.causes] == ["inputs-not-scaled"]
    answer = diagnosis.causes[0]
    assert answer.proved
    assert answer.evidence == {"rms": 360.0}
    assert answer.sentence.startswith("Inputs have mean 300. With inputs standardised")
    assert diagnosis.remedies[0].sentence == "Scale them."


WEIGHTED = CheckResult(
    name="class-weights",
    outcome="issue",
    cause="loss-weights-wrong",
    evidence={},
    sentence="Class weights are odd.",
    remedy="Take others.",
)


@pytest.mark.parametrize(("weights", "costs"), [((1, 1, 1, 0.002), True), ((1, 1, 1, 0.8), False)])
def test_what_an_accused_fault_costs_a_training_that_does_well(
    weights: tuple[float, ...], costs: bool
) -> None:
    spec = LossSpec(name="cross_entropy", weight=torch.tensor(weights))
    # Of noise enough that the classes stay mixed up where one hardly counts.
    noise = torch.Generator().manual_seed(0)
    batches = captured(lambda x: x + 2.5 * torch.randn(x.shape, generator=noise), n=48)

    def weighted(outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets, weight=spec.weight)

    given = replace(case(bn_cnn(), batches=batches, loss=weighted), loss=spec)
    tried: list[str] = []
    told = diagnose_case(
        given,
        verdict="healthy",
        learned=True,
        checks=[WEIGHTED],
        budget_seconds=30,
        clock=Ticks(),
        on_trial=tried.append,
    )
    assert {name.split(" ")[0] for name in tried} <= {
        *("control", "weights-removed", "weights-balanced", "weights-reversed", "weights-softened")
    }
    assert [one.proved for one in told.causes] == ([True] if costs else [])
    if costs:
        assert told.causes[0].id == "loss-weights-wrong"
        assert told.sentence.startswith(
            "The training tells the classes apart, but loss-weights-wrong costs it 0."
        )
    else:
        assert told.sentence == (
            "The training tells the classes apart; that loss-weights-wrong costs it anything was "
            "not shown by trials."
        )


@pytest.mark.parametrize("starved", [True, False])
def test_a_class_that_is_rare_in_training_is_judged_by_evaluation_images(starved: bool) -> None:
    def without_class_three(one: CapturedBatch) -> CapturedBatch:
        assert one.targets is not None
        keep = one.targets != 3
        return replace(one, args=(one.args[0][keep],), targets=one.targets[keep])

    batches = tuple(map(without_class_three, captured()))
    evaluation = tuple(replace(one, training=False) for one in captured(n=12))
    given = case(bn_cnn(), batches=batches, evaluation=evaluation)
    options = {"deadline": 60.0, "seed": 0, "clock": Ticks(), "on_trial": None}
    sides = Sides(given, (), starved=starved, **options)  # type: ignore[arg-type]
    seen = {int(k) for one in sides.held_out if one.targets is not None for k in one.targets}
    assert seen == ({0, 1, 2, 3} if starved else {0, 1, 2})


@pytest.mark.parametrize(
    ("losses", "cause"),
    [
        ((1.4, 1.4, 1.3), "learning-rate-too-low"),
        ((1.4, 30.0, 1.6), "learning-rate-too-high"),
        ((1.4, float("nan")), "learning-rate-too-high"),
        ((), "learning-rate-too-low"),
    ],
)
def test_what_another_optimizer_cures_is_told_by_the_losses(
    losses: tuple[float, ...], cause: str
) -> None:
    batches = tuple(replace(one, loss=loss) for one, loss in zip(captured(), losses))
    given = case(cnn(), batches=batches or captured())
    lab = Lab(
        case=given,
        material=Material(given),
        parts=divide(captured()),
        evaluation=(),
        accused=frozenset(),
    )
    assert rate_cause(lab) == cause


def test_copies_are_given_back_within_the_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everyclass.diagnosis.sides.MOST_BYTES", 1)
    alive: list[int] = []
    from everyclass.diagnosis import sides

    plain = sides.Sides._give_back

    def counted(self: Any, newest: Any) -> None:
        plain(self, newest)
        alive.append(sum(one.trainee is not None for one in self._kept))

    monkeypatch.setattr(sides.Sides, "_give_back", counted)
    report = run_trials(case(bn_cnn(), lr=1e-6), budget_seconds=12, clock=Ticks())
    assert proved(report)
    assert max(alive) <= 4  # two controls, the newest side and the one before


def test_a_lost_sign_is_proved_by_cross_entropy() -> None:
    def lost(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.log_softmax(1).gather(1, targets[:, None]).mean()

    report = run_trials(
        case(bn_cnn(), loss=lost), accused=("loss-mismatch",), budget_seconds=4, clock=Ticks()
    )
    assert "cross-entropy" in proved(report)
    assert report.trials[0].causes == ("loss-mismatch",)


@pytest.mark.parametrize("change", ["adam", "batchnorm-added"])
def test_another_optimizer_and_added_layers_leave_out_what_was_left_out(change: str) -> None:
    model = cnn()
    held = list(model.parameters())[-1]
    given = case(model, optimizers=(torch.optim.SGD([held], lr=0.05),))
    accused: tuple[CauseId, ...] = ("poor-initialisation",)
    sides = Sides(given, accused, deadline=1.0, seed=0, clock=Ticks(), on_trial=None)
    side = sides.make([one for one in changes() if one.name == change])
    sides.train(side, 3)
    assert side.trainee is not None
    moved = [
        tuple(own.shape)
        for own, first in zip(_old_parameters(side.trainee.model), cnn().parameters(), strict=True)
        if not torch.equal(own, first)
    ]
    assert moved == [tuple(held.shape)]


def _old_parameters(model: nn.Module) -> list[Tensor]:
    """Without those of added BatchNorm."""
    added = {
        id(p) for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()
    }
    return [p for p in model.parameters() if id(p) not in added]


class WithAuxiliaryHead(nn.Module):
    """As Inception has one: an answer more in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.auxiliary = bn_cnn(), nn.Linear(3, 4)

    def forward(self, inputs: Tensor) -> Any:
        scores = self.body(inputs)
        return (scores, self.auxiliary(inputs.mean((2, 3)))) if self.training else scores


def test_the_main_head_decides_and_evaluation_may_have_no_other() -> None:
    def loss(outputs: Any, targets: Tensor) -> Tensor:
        if isinstance(outputs, Tensor):
            return functional.cross_entropy(outputs, targets)
        main, auxiliary = outputs
        whole = functional.cross_entropy(main, targets)
        return whole + 0.4 * functional.cross_entropy(auxiliary, targets)

    given = case(WithAuxiliaryHead(), lr=1e-6, loss=loss)
    report = run_trials(given, budget_seconds=12, clock=Ticks())
    assert {cause for one in report.trials if one.proved for cause in one.causes} == {
        "learning-rate-too-low"
    }


def test_a_lucky_order_is_beaten_only_by_far() -> None:
    targets = torch.arange(4).repeat(100).numpy()

    def scored(right: float) -> Score:
        decisions = targets.copy()
        decisions[int(right * len(targets)) :] = 0
        return Score(targets=targets, decisions=decisions, log_loss=1.0, n_classes=4)

    assert far_beyond(scored(0.3), scored(0.98))
    assert not far_beyond(scored(0.5), scored(0.6))
    assert not far_beyond(scored(0.98), scored(0.3))


def test_dropout_in_functions_and_attention_is_turned_off() -> None:
    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(48, 16)
            self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.9, batch_first=True)
            self.head = nn.Linear(16, 4)

        def forward(self, images: Tensor) -> Tensor:
            patches = functional.unfold(images, 4, stride=4).transpose(1, 2)
            hidden = self.layer(self.embed(patches)).mean(1)
            return self.head(functional.dropout(hidden, training=self.training))

    torch.manual_seed(0)
    given = case(Dropping(), lr=0.01)
    assert Material(given).training.dropout == 0.9
    with AlteredDropout(lambda _: 0.0):
        assert torch.equal(functional.dropout(torch.ones(64)), torch.ones(64))
    sides = Sides(given, (), deadline=1.0, seed=0, clock=Ticks(), on_trial=None)
    (off,) = [one for one in changes() if one.name == "dropout-off"]
    side = sides.make([off])
    assert side.trainee is not None
    side.trainee.model.train()
    inputs = given.batches[0]
    with AlteredDropout(lambda _: 0.0):
        first, second = side.trainee.outputs(inputs), side.trainee.outputs(inputs)
    assert torch.equal(first, second)
    assert not torch.equal(side.trainee.outputs(inputs), side.trainee.outputs(inputs))
    assert not side.trainee.drops


def test_an_accused_change_is_given_more_time_where_the_run_was_long() -> None:
    """At a rate of 0.002 nothing is learned in the 80 steps that the budget holds eight times."""
    given = case(cnn(), lr=0.002, steps=1200, forwards=1200, loss=_smallest_first)
    report = run_trials(given, accused=("loss-mismatch",), budget_seconds=3, clock=Ticks(0.001))
    steps = {one.change: one.steps for one in report.trials}
    assert steps["cross-entropy"] > 80


def _smallest_first(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(-outputs, targets)


def test_an_evaluation_that_numbers_its_classes_differently_is_proved_at_once() -> None:
    model = bn_cnn()
    given = case(model, lr=0.05)
    for _ in range(4):
        for one in given.batches:
            assert one.targets is not None
            train(model, given.optimizers[0], one.args[0], one.targets, 1)
    shifted = []
    for seed in range(40, 52):
        images, targets = batch(16, seed=seed)
        shifted.append(CapturedBatch(args=(images,), targets=(targets + 1) % 4, training=False))
    report = run_trials(replace(given, evaluation=tuple(shifted)), budget_seconds=3, clock=Ticks())
    told = next(one for one in report.trials if one.change == "classes-reordered")
    assert told.proved
    assert told.steps == 0
    assert told.causes == ("labels-out-of-range",)
    same = tuple(replace(one, targets=(one.targets - 1) % 4) for one in shifted)  # type: ignore[operator]
    report = run_trials(replace(given, evaluation=same), budget_seconds=3, clock=Ticks())
    assert "classes-reordered" in report.excluded


def test_weights_rounded_after_each_step_are_proved_by_a_copy_that_keeps_them() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 32), nn.ReLU(), nn.Linear(32, 4))
    given = case(model, lr=0.003)
    with torch.no_grad():
        for one in model.parameters():
            one.copy_((one * 32).round() / 32)
    report = run_trials(given, accused=["precision-loss"], budget_seconds=12, clock=Ticks())
    assert report.trials[0].change == "float32"
    assert report.trials[0].proved


def test_evaluation_in_training_mode_is_proved_at_once() -> None:
    model = bn_cnn()
    optimizer = sgd(model)
    for seed in range(40):
        train(model, optimizer, *batch(16, seed=seed), 1)
    # Batches of one class: their own statistics take away what tells the classes apart.
    images, targets = batch(256, seed=99)
    seen = tuple(
        CapturedBatch(
            args=(images[targets == k],),
            targets=targets[targets == k],
            training=False,
            model_training=True,
            step=40,
        )
        for k in (0, 1, 2, 3)
        for _ in range(2)
    )
    report = run_trials(case(model, evaluation=seen), budget_seconds=8, clock=Ticks())
    found = next(one for one in report.trials if one.change == "evaluation-mode")
    assert found.proved
    assert found.causes == ("batchnorm-mismatch",)


class ByHand(nn.Module):
    """Batch normalisation whose statistics are others than it computes: those it does not keep."""

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return inputs - 1000
        axes = (0, 2, 3)
        return (inputs - inputs.mean(axes, keepdim=True)) / inputs.std(axes, keepdim=True)


def test_what_fails_in_evaluation_alone_is_proved_there_and_no_change_of_training_is_tried() -> (
    None
):
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(3, 8, 3, stride=2), ByHand(), nn.ReLU()]
    model = nn.Sequential(*convolutions, nn.Dropout(0.1), nn.Flatten(), nn.LazyLinear(4))
    shifted = [(10 + 60 * x, y) for x, y in (batch(32, seed=seed) for seed in range(40))]
    model(shifted[0][0])
    optimizer = adam(model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for images, targets in shifted:
        train(model, optimizer, images, targets, 3)
    seen = tuple(
        CapturedBatch(args=(x,), targets=y, step=40, training=True, model_training=True)
        for x, y in shifted
    )
    judged = tuple(replace(one, training=False, model_training=False) for one in seen[:8])
    given = case(model, batches=seen, evaluation=judged, initial_state=state)
    report = run_trials(given, budget_seconds=8, clock=Ticks())
    found = next(one for one in report.trials if one.change == "training-mode")
    assert found.proved
    assert found.causes == ("batchnorm-mismatch",)
    assert "batchnorm-added" not in {one.change for one in report.trials}


@pytest.mark.parametrize(("start", "cause"), [(0.9, "high"), (1e-3, "low")])
def test_a_rate_held_at_what_was_meant(start: float, cause: str) -> None:
    model = bn_cnn()
    given = case(model, lr=1e-6, rates=((0, start), (4, 1e-6)), steps=80, forwards=80)
    given.optimizers[0].param_groups[0]["initial_lr"] = 0.02
    lab = Sides(given, (), deadline=100, seed=0, clock=Ticks(), on_trial=None).lab
    change = next(one for one in changes() if one.name == "rate-constant")
    trainee = trainee_of(given, given.batches, from_start=True)
    change.apply(lab, trainee)
    held = trainee.peak_rates[0][0] * trainee.rate(70)
    assert held == pytest.approx(0.02 if cause == "high" else start)
    assert change.cause_of is not None
    assert change.cause_of(lab) == f"learning-rate-too-{cause}"


class _Skipping(nn.Module):
    """Layers that are skipped at random, four times out of five."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = cnn()

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.inner(images)
        return scores * (torch.rand(len(scores), 1) < 0.2) if self.training else scores


def test_what_is_skipped_at_random_by_the_networks_own_code_is_left_out_in_a_trial() -> None:
    change = next(one for one in changes() if one.name == "nothing-random")
    sides = _sides(case(_Skipping()), budget_seconds=30)
    side = sides.make((change,))
    assert side.trainee is not None
    assert side.trainee.in_evaluation_mode == ("",)
    side.trainee.train(1, seed=0)
    assert not side.trainee.model.training
    for other in (cnn(), bn_cnn(), nn.Sequential(cnn(), nn.Dropout(0.5))):
        with pytest.raises(NotApplicable):
            _sides(case(other), budget_seconds=30).make((change,))


class _OnlySixteen(nn.Module):
    """A network that insists on its batch size."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = bn_cnn()

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images.view(16, 3, 16, 16))  # type: ignore[no-any-return]


def _sides(given: Case, *, budget_seconds: float) -> Sides:
    return Sides(
        given, (), deadline=budget_seconds, seed=0, clock=Ticks(), on_trial=lambda name: None
    )


def test_batches_are_cut_where_a_pass_is_slow_for_the_budget() -> None:
    slow, roomy = _sides(case(bn_cnn()), budget_seconds=1), _sides(case(bn_cnn()), budget_seconds=9)
    whole = slow.training
    for sides in (slow, roomy):
        sides.measure_pace(8)
    assert roomy.rows is None
    assert [id(one) for one in roomy.training] == [id(one) for one in roomy.lab.parts.training]
    assert all(len(one.targets) == 16 for one in roomy.training if one.targets is not None)
    # The same images in the same order, and what changes look at is what is trained on.
    assert slow.rows == 8
    assert slow.lab.parts.training == slow.training
    for a, b in zip(whole, zip(slow.training[::2], slow.training[1::2])):
        assert torch.equal(a.args[0], torch.cat([one.args[0] for one in b]))
        assert torch.equal(a.targets, torch.cat([one.targets for one in b]))  # type: ignore[arg-type, misc]
    assert slow.made == 2 * roomy.made


def test_a_network_that_insists_on_its_batches_keeps_them() -> None:
    sides = _sides(case(_OnlySixteen()), budget_seconds=1)
    sides.measure_pace(8)
    assert sides.rows is None
    assert all(len(one.targets) == 16 for one in sides.training if one.targets is not None)


def test_a_cut_is_told_beside_the_proof() -> None:
    given = case(bn_cnn(), batches=captured(lambda x: 1e-4 * x), lr=1e-3)
    found = diagnose_case(
        given,
        verdict="collapsed",
        checks=[NOT_SCALED],
        budget_seconds=1,
        clock=Ticks(),
    )
    assert found.trials
    for trial in (one for one in found.trials if one.steps):
        assert trial.batch_images == 8
        assert trial.to_dict()["batch_images"] == 8


@pytest.mark.parametrize(("lr", "state"), [(2e-3, "proved"), (3.0, "a fact")])
def test_inputs_that_are_not_finite_come_first(lr: float, state: str) -> None:
    broken = torch.full((16, 3, 16, 16), torch.nan)
    batches = (replace(captured()[0], args=(broken,)), *captured()[1:])
    found = diagnose_case(case(cnn(), lr=lr, batches=batches), verdict="diverged", budget_seconds=0)
    assert found.causes[0].id == "non-finite"
    assert found.causes[0].state == state


def test_a_value_that_is_nan_in_every_image_is_told_and_replaced() -> None:
    def divided(x: Tensor) -> Tensor:
        scaled = x.clone()
        scaled[:, 1, 3, :2] /= 0
        scaled[:, 1, 3, 0] *= 0
        return scaled

    given = case(cnn(), batches=captured(divided))
    found = diagnose_case(given, verdict="diverged", budget_seconds=0, clock=Ticks())
    assert found.causes[0].sentence.startswith(
        "The first non-finite numbers are in the inputs (16 of 16 rows, in each the same 2 of 768 "
        "values). With 0 in the place of what is not finite"
    )
    assert found.causes[0].proved
    assert found.remedies[0].sentence.startswith("A value that is the same in all images")


@pytest.mark.parametrize(
    ("lr", "useless", "tried"),
    [
        (1e-9, {"rate-ten-times", "rate-hundred-times"}, "adam"),
        (1.2, {"rate-tenth"}, "rate-hundredth"),
    ],
)
def test_rates_that_are_known_to_be_too_little_help_are_not_tried(
    lr: float, useless: set[str], tried: str
) -> None:
    model = cnn()
    cause: CauseId = "learning-rate-too-low" if lr < 1 else "learning-rate-too-high"
    given = case(model, optimizers=(adam(model, lr),), rates=((0, lr),))
    report = run_trials(given, accused=[cause], budget_seconds=30, clock=Ticks())
    assert useless <= report.excluded.keys()
    assert report.trials[0].change == tried
    assert report.trials[0].proved


def test_decisions_regressed_as_numbers_are_judged_by_the_scores_behind_them() -> None:
    """The loss gets one column, of which the classes 0 and 1 alone could be read."""

    def of_decisions(outputs: Tensor, targets: Tensor) -> Tensor:
        decided = outputs.argmax(dim=1).float().requires_grad_()
        return functional.mse_loss(decided, targets.float())

    given = case(bn_cnn(), loss=of_decisions)
    found = score(trainee_of(given, given.batches, from_start=True), given.batches)
    assert set(found.targets.tolist()) == {0, 1, 2, 3}
    assert len(found.targets) == 16 * N_BATCHES


def test_scores_of_other_images_say_nothing_of_one_another() -> None:
    right = np.array([0, 1, 2, 3])
    few = Score(targets=right[:2], decisions=right[:2], log_loss=0.0, n_classes=2)
    all_of_them = Score(targets=right, decisions=right, log_loss=0.0, n_classes=4)
    assert gain([few], [all_of_them]).low == -1.0


def test_an_error_of_ours_ends_the_trials_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Score:
        raise IndexError("row 7")

    monkeypatch.setattr("everyclass.diagnosis.sides.score", broken)
    given = case(cnn())
    before = copy.deepcopy(given.model.state_dict())
    diagnosis = diagnose_case(given, verdict="not-learning", checks=[NOT_SCALED], budget_seconds=2)
    assert (
        "An error of everyclass itself ended the trials (IndexError: row 7)" in diagnosis.notes[0]
    )
    assert diagnosis.causes[0].id == "inputs-not-scaled"
    assert not diagnosis.causes[0].proved
    assert all(torch.equal(before[k], v) for k, v in given.model.state_dict().items())
