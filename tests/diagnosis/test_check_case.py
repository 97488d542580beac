"""Captured material: several batches, the stream, rates, steps, evaluation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.utils.prune as prune
from checks_zoo import adam, batch, bn_cnn, cnn, mlp, pixels, sgd, train
from torch import nn
from torch.nn import functional

from everyclass.diagnosis.answers import Answer, Check
from everyclass.diagnosis.case import AnswerLeaves, CapturedBatch, Case, LossSpec
from everyclass.diagnosis.check import check_case
from everyclass.diagnosis.material import Material
from everyclass.diagnosis.snapshot import copied_together
from everyclass.findings import CheckResult


def case(model: nn.Module | None = None, **options: Any) -> Case:
    """A healthy case after a few steps, with everything known."""
    model = bn_cnn() if model is None else model
    optimizer = options.pop("optimizer", None) or sgd(model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    images, targets = batch(96)
    for step in range(6):
        train(model, optimizer, images[step * 16 :][:16], targets[step * 16 :][:16], 1)
    known: dict[str, Any] = {
        "model": model,
        "optimizers": (optimizer,),
        "loss_function": functional.cross_entropy,
        "loss": LossSpec(name="cross_entropy"),
        "n_classes": 4,
        "batches": tuple(
            CapturedBatch(
                args=(images[i * 32 :][:32],),
                targets=targets[i * 32 :][:32],
                step=2 * i,
                loss=1.4 - 0.1 * i,
                model_training=True,
            )
            for i in range(3)
        ),
        "evaluation": (
            CapturedBatch(
                args=batch(seed=5)[:1],
                targets=batch(seed=5)[1],
                training=False,
                model_training=False,
            ),
        ),
        "label_counts": ((4, 4, 4, 4), (5, 3, 4, 4), (3, 5, 4, 4)) * 10,
        "class_counts": (24, 24, 24, 24),
        "forwards": 30,
        "steps": 30,
        "gradients_cleared": True,
        "gradient_norms": ((0, 1.2), (1, 1.1)),
        "answers_reached": True,
        "rates": ((0, 0.05),),
        "initial_state": state,
    }
    return Case(**(known | options))


def causes(results: tuple[CheckResult, ...]) -> list[str]:
    return [str(one.cause) for one in results if one.outcome == "issue"]


def named(results: tuple[CheckResult, ...], name: str) -> CheckResult:
    return next(one for one in results if one.name == name)


def test_a_healthy_case_has_no_issue_and_nearly_everything_applies() -> None:
    results = check_case(case())
    assert causes(results) == []
    lacking = {one.name for one in results if one.outcome == "not-applicable"}
    assert lacking == {
        *("loss-weights", "weights-and-smoothing", "double-correction"),
        "clipping",  # no gradients were clipped
        "train-against-eval",  # 6 batches are too few
        *("penalty", "adjustment"),  # the loss is one of torch's
        "drawn-by-class",  # 360 labels are too few, and classes are even
        "class-order",  # no answers to evaluation images were kept
        "batch-axis",  # no layer takes a sequence first
        "label-conflicts",  # no image came twice
        "weights-loaded",  # no checkpoint was
    }


def test_an_empty_case_says_what_lacks() -> None:
    results = check_case(Case(model=cnn()))
    assert causes(results) == []
    applicable = [one.name for one in results if one.outcome != "not-applicable"]
    assert applicable == []
    assert all(one.sentence for one in results)


@pytest.mark.parametrize(
    "change",
    [
        {"gradients_cleared": False},
        {"gradients_cleared": False, "gradient_norms": ((0, 1.0), (1, 2.1), (2, 3.3))},
    ],
)
def test_gradients_that_add_up(change: dict[str, Any]) -> None:
    results = check_case(case(**change))
    assert causes(results) == ["gradients-not-cleared"]
    if "gradient_norms" in change:
        assert "1 at step 0, 3.3 at step 2" in named(results, "gradients-cleared").sentence


def test_steps_without_a_gradient_are_a_detached_loss() -> None:
    model = cnn()
    optimizer = sgd(model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    given = case(cnn(), gradients_cleared=None, gradient_norms=(), answers_reached=False)
    given = replace(given, model=model, optimizers=(optimizer,), initial_state=state)
    assert causes(check_case(given)) == ["graph-detached"]


def test_ten_images_drawn_over_and_over() -> None:
    images, targets = batch(10)
    rng = torch.Generator().manual_seed(0)
    drawn = [torch.randint(0, 10, (32,), generator=rng) for _ in range(6)]
    again = tuple(CapturedBatch(args=(images[d],), targets=targets[d]) for d in drawn)
    assert causes(check_case(case(batches=again))) == ["inputs-constant"]


def test_a_small_set_learned_by_heart_is_no_constant_input() -> None:
    images, targets = batch(16)
    again = tuple(CapturedBatch(args=(images,), targets=targets) for _ in range(10))
    assert causes(check_case(case(batches=again))) == []


def test_weights_that_became_nan_are_no_missing_step() -> None:
    given = case()
    with torch.no_grad():
        for parameter in given.model.parameters():
            parameter.fill_(torch.nan)
    assert causes(check_case(given)) == ["non-finite"]


def test_no_step_in_many_batches() -> None:
    results = check_case(case(steps=0, forwards=200, label_counts=((4, 4, 4, 4),) * 200))
    assert causes(results) == ["step-not-taken"]


def test_a_step_an_epoch() -> None:
    rare = case(cnn(), steps=6, forwards=270, initial_state=None)
    assert causes(check_case(rare)) == ["step-not-taken"]
    accumulated = case(cnn(), steps=10, forwards=160, initial_state=None)
    assert causes(check_case(accumulated)) == []
    outside = replace(accumulated, epoch_batches=16)
    assert causes(check_case(outside)) == ["step-not-taken"]
    assert causes(check_case(replace(accumulated, epoch_batches=64))) == []


def test_a_class_of_weight_zero_is_accused_and_stops_no_check() -> None:
    loss = LossSpec(name="cross_entropy", weight=torch.tensor([0.0, 1.0, 1.0, 3.0]))

    def weighted(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(outputs, targets, weight=loss.weight)

    given = case(loss=loss, loss_function=weighted, class_counts=(900, 300, 100, 30))
    assert causes(check_case(given)) == ["loss-weights-wrong"]


@pytest.mark.parametrize(("lost", "told"), [((0.98, 0.0), True), ((0.25, 0.25), False)])
def test_images_whose_class_became_the_ignored_id_are_told(
    lost: tuple[float, float], told: bool
) -> None:
    """Of one class nearly all, or of each class a quarter, as where images have no label yet."""
    loss = LossSpec(name="cross_entropy", ignore_index=-1)

    def ignoring(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(outputs, targets, ignore_index=-1)

    drawn = torch.Generator().manual_seed(0)

    def with_lost(targets: torch.Tensor) -> torch.Tensor:
        share = torch.where(targets == 2, lost[0], lost[1])
        gone = torch.rand(targets.shape, generator=drawn) < share
        return torch.where(gone, -1, targets)

    given = case(loss=loss, loss_function=ignoring)
    batches = tuple(
        replace(one, targets=with_lost(one.targets))
        for one in given.batches
        if one.targets is not None
    )
    found = [one for one in check_case(replace(given, batches=batches)) if one.outcome == "issue"]
    assert [(one.name, one.cause) for one in found] == (
        [("ignored-class", "labels-out-of-range")] if told else []
    )
    if told:
        assert found[0].evidence["hardly_any"] == [2]
        assert "labels are -1, which the loss ignores" in found[0].sentence


def test_images_that_come_again_with_another_label_are_told() -> None:
    given = case()
    shifted = tuple(
        replace(one, targets=(one.targets + 1) % 4)
        for one in given.batches
        if one.targets is not None
    )
    twice = replace(given, batches=(*given.batches, *shifted))
    results = check_case(twice)
    assert causes(results) == ["labels-unrelated"]
    told = next(one for one in results if one.name == "label-conflicts")
    assert told.evidence["with_another"] == told.evidence["images"] == 96
    same = replace(given, batches=given.batches * 2)
    assert causes(check_case(same)) == []
    # A handful of duplicates that somebody labelled twice is in every real set.
    first = given.batches[0]
    assert first.targets is not None
    doubtful = first.targets.clone()
    doubtful[:4] = (doubtful[:4] + 1) % 4
    few = replace(given, batches=(*given.batches, replace(first, targets=doubtful)))
    assert causes(check_case(few)) == []


def test_a_check_that_fails_itself_costs_no_report() -> None:
    def broken(material: Material) -> Answer:
        return [][0]

    told = Check(name="broken", run=broken).result(Material(case()))
    assert (told.outcome, told.cause) == ("not-applicable", None)
    assert "our mistake: IndexError" in told.sentence


def test_decay_that_has_done_its_work_is_seen_at_the_start() -> None:
    model, (images, targets) = mlp(768), batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=0.5, momentum=0.9)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1e-3)
    given = Case(
        model=model,
        optimizers=(optimizer,),
        loss_function=functional.cross_entropy,
        batches=(CapturedBatch(args=(images,), targets=targets),),
        initial_state=state,
        steps=50,
    )
    assert "weight-decay-too-strong" in causes(check_case(given))


def test_accumulation_over_many_batches_is_left_alone() -> None:
    assert causes(check_case(case(steps=0, forwards=64))) == []


def test_steps_that_move_nothing() -> None:
    model = cnn()
    optimizer = sgd(model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    given = case(cnn(), optimizer=None)
    given = replace(given, model=model, optimizers=(optimizer,), initial_state=state, steps=40)
    assert causes(check_case(given)) == ["step-not-taken"]


@pytest.mark.parametrize(
    "rates",
    [
        tuple((step, 0.1 * 0.1 ** (step // 10)) for step in range(0, 60, 10)),
        tuple((step, 0.1 * 0.5**step) for step in range(30)),
        ((0, 0.1), (30, 0.0)),
    ],
)
def test_a_scheduler_for_epochs_stepped_per_batch(rates: tuple[tuple[int, float], ...]) -> None:
    model = cnn()
    optimizer = sgd(model)
    given = case(model, optimizer=optimizer, rates=rates, steps=400, forwards=400)
    optimizer.param_groups[0].update(lr=rates[-1][1], initial_lr=0.1)
    assert "learning-rate-too-low" in causes(check_case(given))


@pytest.mark.parametrize(
    "rates",
    [
        tuple((s, 0.1 * (1 + torch.cos(torch.tensor(s / 400 * 3.14159)).item()) / 2)
              for s in range(0, 400, 4)),
        ((0, 0.1), (200, 0.01), (300, 0.001), (399, 0.00005)),
        tuple((step, 5e-4 * step) for step in range(100)),
        tuple((step, 2.5e-4 * step) for step in range(400)),
        tuple((s, 0.1 * min(1.0, 0.04 + s / 120)) for s in range(0, 400, 5)),
    ],
    ids=["cosine", "steps", "warm-up", "warm-up for the whole run", "one-cycle"],
)  # fmt: skip
def test_usual_schedules_are_left_alone(rates: tuple[tuple[int, float], ...]) -> None:
    model = cnn()
    optimizer = sgd(model)
    given = case(model, optimizer=optimizer, rates=rates, steps=400, forwards=400)
    optimizer.param_groups[0].update(lr=rates[-1][1], initial_lr=0.1)
    assert causes(check_case(given)) == []


@pytest.mark.parametrize(
    "rates",
    [
        tuple((50 * i, 0.001 * 5**i) for i in range(8)),
        ((0, 0.001), (200, 0.5), (300, 0.4)),
    ],
    ids=["multiplied each epoch", "restart"],
)
def test_a_rate_that_rises_late(rates: tuple[tuple[int, float], ...]) -> None:
    model = cnn()
    optimizer = sgd(model)
    given = case(model, optimizer=optimizer, rates=rates, steps=400, forwards=400)
    optimizer.param_groups[0].update(lr=rates[-1][1], initial_lr=0.001)
    assert set(causes(check_case(given))) == {"learning-rate-too-high"}


def test_a_warm_up_longer_than_the_run() -> None:
    model = cnn()
    optimizer = sgd(model, lr=4e-6)
    optimizer.param_groups[0]["initial_lr"] = 0.01
    rates = tuple((step, 1e-8 * step) for step in range(1, 401))
    given = case(model, optimizer=optimizer, rates=rates, steps=400, forwards=400)
    assert causes(check_case(given)) == ["learning-rate-too-low"]
    assert causes(check_case(replace(given, steps=40))) == []


@pytest.mark.parametrize(
    "label_counts",
    [
        ((16, 0, 0, 0),) * 20 + ((0, 16, 0, 0),) * 20 + ((0, 0, 16, 0),) * 20,
        ((16, 0, 0, 0), (0, 16, 0, 0), (0, 0, 16, 0), (0, 0, 0, 16)) * 12,
        ((32, 0, 0, 0),) * 40,
    ],
    ids=["by class", "a class a batch", "the first class only"],
)
def test_sorted_streams(label_counts: tuple[tuple[int, ...], ...]) -> None:
    assert causes(check_case(case(label_counts=label_counts))) == ["stream-sorted"]


def test_one_class_of_an_extremely_imbalanced_set_is_no_sorted_stream() -> None:
    given = case(label_counts=((16, 0, 0, 0),) * 8, class_counts=(99_000, 400, 300, 300))
    assert causes(check_case(given)) == []


def test_evaluation_in_training_mode() -> None:
    given = case()
    wrong = tuple(replace(one, model_training=True) for one in given.evaluation)
    assert causes(check_case(replace(given, evaluation=wrong))) == ["batchnorm-mismatch"]
    plain = case(cnn(), evaluation=wrong)
    assert causes(check_case(plain)) == []


def test_evaluation_images_prepared_otherwise() -> None:
    given = case()
    raw = tuple(replace(one, args=(one.args[0] * 50 + 120,)) for one in given.evaluation)
    assert causes(check_case(replace(given, evaluation=raw))) == ["train-eval-mismatch"]
    shifted = tuple(replace(one, args=(one.args[0] * 0.25 + 0.5,)) for one in given.evaluation)
    assert causes(check_case(replace(given, evaluation=shifted))) == ["train-eval-mismatch"]


def test_a_sampler_that_evens_out_and_weights() -> None:
    loss = LossSpec(name="cross_entropy", weight=torch.tensor([0.1, 0.4, 1.0, 3.0]))

    def weighted(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(outputs, targets, weight=loss.weight)

    both = case(loss=loss, loss_function=weighted, class_counts=(900, 300, 100, 30))
    assert causes(check_case(both)) == ["double-correction"]
    unknown = case(loss=loss, loss_function=weighted, class_counts=None)
    assert causes(check_case(unknown)) == ["double-correction"]
    plain = case(
        loss=loss,
        loss_function=weighted,
        class_counts=(900, 300, 100, 30),
        label_counts=((22, 7, 2, 1), (21, 8, 3, 0)) * 15,
    )
    assert causes(check_case(plain)) == []


def test_weights_that_grow_with_counts_of_two_sizes_are_not_called_reversed() -> None:
    counts = (146, 141, 8, 9)
    loss = nn.CrossEntropyLoss(weight=torch.tensor(counts) / 304)
    spec = LossSpec(name="cross_entropy", weight=loss.weight)
    given = case(loss=spec, loss_function=loss, class_counts=counts)
    (issue,) = (one for one in check_case(given) if one.outcome == "issue")
    assert issue.cause == "loss-weights-wrong"
    assert "larger where counts are" in issue.sentence


def test_labels_from_one_in_a_long_stream() -> None:
    given = case(label_counts=((0, 5, 6, 5), (0, 6, 5, 5)) * 40, class_counts=None)
    assert causes(check_case(given)) == ["labels-out-of-range"]


def test_a_signal_that_fades_is_seen_at_the_initial_weights() -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(768, 32), nn.ReLU()]
    for _ in range(16):
        layers += [nn.Linear(32, 32), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(32, 4))
    assert "poor-initialisation" in causes(check_case(case(model)))


def test_units_dead_from_the_start_are_called_dead_and_nothing_else() -> None:
    model = cnn()
    with torch.no_grad():
        model[0].bias.fill_(-100)
    results = check_case(case(model))
    assert set(causes(results)) == {"dead-units"}
    assert named(results, "dead-units").evidence["alive_at_start"] is False


def test_units_that_died_in_training_are_said_to_have() -> None:
    given = case(cnn())
    with torch.no_grad():
        given.model[0].bias.fill_(-100)
    found = named(check_case(given), "dead-units")
    assert found.cause == "dead-units"
    assert "training drove them there" in found.sentence


def test_dropout_does_not_hide_that_a_network_is_dead() -> None:
    """Of images in grey levels, which have driven the first units of the network down."""
    images, targets = pixels()
    model = nn.Sequential(cnn(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 4))
    given = case(model, batches=(CapturedBatch(args=(images.float(),), targets=targets),))
    with torch.no_grad():
        given.model[0][0].bias.fill_(-1e6)
        given.model[-1].bias.add_(1.0)
    found = check_case(given)
    assert named(found, "input-dependence").cause == "dead-units"
    assert named(found, "input-scale").cause == "inputs-not-scaled"


def test_statistics_reset_before_evaluation() -> None:
    given = case()
    model, (images, targets) = given.model, batch(64)
    train(model, given.optimizers[0], images + 3, targets, 60)
    for layer in (model[1], model[5]):
        layer.reset_running_stats()
    seen = (CapturedBatch(args=(images + 3,), targets=targets),)
    given = replace(given, batches=seen, evaluation=(), steps=160, initial_state=None)
    assert causes(check_case(given)) == ["batchnorm-mismatch"]


def test_wrapped_names_in_the_initial_state() -> None:
    given = case()
    assert given.initial_state is not None
    state = {f"module.{name}": value for name, value in given.initial_state.items()}
    results = check_case(replace(given, initial_state=state))
    assert named(results, "initial-loss").outcome == "passed"
    assert named(results, "step-taken").outcome == "passed"


def test_a_state_of_another_network_is_said_not_to_fit() -> None:
    results = check_case(case(initial_state=mlp(768).state_dict()))
    assert named(results, "initial-loss").outcome == "not-applicable"
    assert "do not fit" in named(results, "initial-loss").sentence
    assert causes(results) == []


def test_a_model_that_refuses_the_batch_gives_reasons() -> None:
    given = case()
    broken = tuple(replace(one, args=(one.args[0][:, :2],)) for one in given.batches)
    results = check_case(replace(given, batches=broken))
    assert causes(results) == []
    assert "could not be run on the batch: RuntimeError" in named(results, "input-scale").sentence


def test_a_loss_by_hand_without_function_is_still_looked_at() -> None:
    given = case(loss_function=None, loss=LossSpec(name="by_hand"))
    results = check_case(given)
    assert causes(results) == []
    assert named(results, "rows-independent").outcome == "passed"
    scaled = tuple(replace(one, args=(one.args[0] * 500,)) for one in given.batches)
    plain = case(cnn(), loss_function=None, batches=scaled, optimizer=None)
    assert "inputs-not-scaled" in causes(check_case(plain))


@pytest.mark.parametrize(("rate", "accused"), [(1e-7, True), (1e-5, False), (1e-3, False)])
def test_a_rate_at_which_adam_can_move_nothing(rate: float, accused: bool) -> None:
    model = cnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    given = case(model, optimizer=optimizer, rates=((0, rate),), steps=200, forwards=200)
    assert causes(check_case(given)) == (["learning-rate-too-low"] if accused else [])


def started(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: one.clone() for name, one in model.state_dict().items()}


def test_weights_that_were_set_to_zero_are_no_matter_of_their_start() -> None:
    model = cnn()
    given = case(model, initial_state=started(model))
    with torch.no_grad():
        for one in model.parameters():
            one.zero_()
    told = [one for one in check_case(given) if one.outcome == "issue"]
    assert [one.cause for one in told] == ["weight-decay-too-strong"]
    assert "was not at the start" in told[0].sentence
    never = case(model, initial_state=started(model))
    assert "poor-initialisation" in causes(check_case(never))


def test_weights_that_pruning_has_masked_are_told_and_the_network_is_copied() -> None:
    model = cnn()
    for one in model.modules():
        if isinstance(one, (torch.nn.Conv2d, torch.nn.Linear)):
            prune.l1_unstructured(one, "weight", amount=0.5)
    given = case(model, initial_state=started(model))
    copied, _ = copied_together(model, given.optimizers)
    images = given.batches[0].args[0]
    assert torch.equal(copied(images), model(images))
    with torch.no_grad():
        for name, one in model.named_buffers():
            if name.endswith("weight_mask"):
                one.zero_()
    model(images)
    told = [one for one in check_case(given) if one.name == "weights-differ"]
    assert [(one.outcome, one.cause) for one in told] == [("issue", "dead-units")]


def test_adam_without_epsilon_is_why_weights_are_not_finite() -> None:
    model = cnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=0.0)
    given = case(model, optimizer=optimizer, rates=((0, 1e-3),))
    with torch.no_grad():
        model[0].weight[0] = torch.nan  # type: ignore[index]
    (told,) = [one for one in check_case(given) if one.outcome == "issue"]
    assert (told.cause, told.evidence["fact"]) == ("non-finite", True)
    assert "Adam has eps=0" in told.sentence


@pytest.mark.parametrize(("rate", "accused"), [(1e-8, True), (1e-5, False)])
def test_a_short_run_says_it_of_rates_that_are_lower_still(rate: float, accused: bool) -> None:
    model = cnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    given = case(model, optimizer=optimizer, rates=((0, rate),), steps=30, forwards=30)
    assert causes(check_case(given)) == (["learning-rate-too-low"] if accused else [])


def test_adam_with_a_rate_that_learns() -> None:
    model = cnn()
    assert causes(check_case(case(model, optimizer=adam(model), rates=((0, 1e-3),)))) == []


def test_a_high_first_loss_is_no_issue_once_the_training_has_got_over_it() -> None:
    given = case()
    assert given.initial_state is not None
    last = [name for name in given.initial_state if name.endswith("weight")][-1]
    sure = {**given.initial_state, last: given.initial_state[last] * 300}
    given = replace(given, initial_state=sure)
    found = named(check_case(given), "initial-loss")
    assert found.cause == "poor-initialisation"
    train(given.model, given.optimizers[0], *batch(64), 60)
    found = named(check_case(given), "initial-loss")
    assert found.cause is None
    assert "the training got over it" in found.sentence


class Probed(nn.Module):
    """Features under no_grad, a head on them."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = cnn(32), nn.Linear(32, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            hidden = self.features(inputs)
        return self.head(hidden)  # type: ignore[no-any-return]


def test_features_under_no_grad_are_accused_where_nothing_was_learned() -> None:
    torch.manual_seed(0)
    model = Probed()
    failed = case(model, optimizer=sgd(model, 1e-5), steps=400, batches=without_losses())
    assert "graph-detached" in causes(check_case(failed))
    begun = case(model, optimizer=sgd(model, 1e-5), steps=4, batches=without_losses())
    assert "graph-detached" not in causes(check_case(begun))


def without_losses() -> tuple[CapturedBatch, ...]:
    """Of which only the weights tell whether anything was learned."""
    images, targets = batch(96)
    return tuple(
        CapturedBatch(args=(images[i * 32 :][:32],), targets=targets[i * 32 :][:32])
        for i in range(3)
    )


def test_gradients_that_come_from_elsewhere_in_the_loss() -> None:
    untrained = cnn()
    given = replace(case(cnn()), model=untrained, optimizers=(sgd(untrained),), initial_state=None)
    assert causes(check_case(replace(given, answers_reached=True))) == []
    found = named(check_case(replace(given, answers_reached=False)), "answers-reached")
    assert found.cause == "graph-detached"
    assert "norm 1.2 at first" in found.sentence


def test_gradients_taken_away_before_the_step() -> None:
    model = cnn()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    given = case(cnn(), gradients_cleared=None, gradient_norms=(), answers_reached=True)
    given = replace(given, model=model, optimizers=(sgd(model),), initial_state=state)
    assert causes(check_case(given)) == ["parameters-frozen"]


@pytest.mark.parametrize(
    ("rates", "meant", "accused"),
    [
        (((0, 0.03), (29, 0.9), (89, 1e-4)), 1e-3, True),
        (((0, math.inf), (1, 1e-3)), 1e-3, True),
        (((0, 4e-3), (40, 0.1), (99, 4e-6)), 4e-3, False),  # a cyclic one, of SGD
        (((0, 1e-4), (29, 3e-3), (89, 1e-3)), 3e-3, False),
    ],
)
def test_a_schedule_that_goes_beyond_what_was_asked(
    rates: tuple[tuple[int, float], ...], meant: float, accused: bool
) -> None:
    model = cnn()
    optimizer = sgd(model, rates[-1][1])
    optimizer.param_groups[0]["initial_lr"] = meant
    given = case(cnn(), rates=rates, steps=100, forwards=100)
    given = replace(given, model=model, optimizers=(optimizer,))
    found = named(check_case(given), "learning-rate")
    assert ("when the optimizer was made" in found.sentence) is accused
    assert not accused or found.cause == "learning-rate-too-high"


def test_weights_rounded_after_each_step() -> None:
    given = case(mlp(768))
    assert named(check_case(given), "weights-rounded").outcome == "passed"
    torch.manual_seed(0)
    model = mlp(768)
    with torch.no_grad():
        for one in model.parameters():
            one.copy_((one * 64).round() / 64)
    found = named(
        check_case(replace(given, model=model, optimizers=(sgd(model),))), "weights-rounded"
    )
    assert found.cause == "precision-loss"
    assert "multiples of 0.0156" in found.sentence
    model = mlp(768)
    with torch.no_grad():
        for one in model.parameters():
            one.copy_(one.bfloat16())
    found = named(
        check_case(replace(given, model=model, optimizers=(sgd(model),))), "weights-rounded"
    )
    assert "to bfloat16" in found.sentence
    # What began like that is no sign of rounding.
    state = {name: value.clone() for name, value in model.state_dict().items()}
    given = replace(given, model=model, optimizers=(sgd(model),), initial_state=state)
    assert named(check_case(given), "weights-rounded").outcome == "passed"


def test_brightness_that_drowns_the_images() -> None:
    model, given = cnn(), case(cnn())
    torch.manual_seed(0)
    shift = torch.empty(96, 1, 1, 1).uniform_(-200, 200)
    drowned = tuple(
        replace(one, args=(one.args[0] + shift[32 * i :][:32],))
        for i, one in enumerate(given.batches)
    )
    given = replace(given, model=model, optimizers=(sgd(model),), batches=drowned)
    found = named(check_case(given), "validation-preprocessing")
    assert found.cause == "augmentation-too-strong"


def test_what_shrinks_everything_to_nothing_leaves_no_unit_alive() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 32), nn.Hardshrink(5.0), nn.Linear(32, 4))
    assert "dead-units" in causes(check_case(case(model)))


@pytest.mark.parametrize(("rate", "accused"), [(1e-3, True), (1.0, False)])
def test_a_rate_at_which_adadelta_stays_where_it_began(rate: float, accused: bool) -> None:
    torch.manual_seed(0)
    model = cnn()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.Adadelta(model.parameters(), lr=rate)
    train(model, optimizer, *batch(64), 100)
    given = replace(case(cnn()), model=model, optimizers=(optimizer,), initial_state=state)
    given = replace(given, steps=100, forwards=100, rates=((0, rate),))
    found = named(check_case(given), "learning-rate")
    assert (found.cause == "learning-rate-too-low") is accused
    assert not accused or "100 steps of Adadelta" in found.sentence


def test_black_edges_of_shifted_training_images_are_no_other_preprocessing() -> None:
    given = case()
    shifted = tuple(replace(one, args=(one.args[0].clone(),)) for one in given.batches)
    for one in shifted:
        one.args[0][:, :, :, :3] = one.args[0][:, :, -3:] = -12.0
    found = named(check_case(replace(given, batches=shifted)), "validation-preprocessing")
    assert found.outcome == "passed"


def test_a_state_of_the_optimizer_that_is_rounded_to_sixteen_bits() -> None:
    model = mlp(768)
    optimizer = adam(model)
    given = case(model, optimizer=optimizer)
    assert named(check_case(given), "state-rounded").outcome == "passed"
    for state in optimizer.state.values():
        state["exp_avg_sq"] = state["exp_avg_sq"].half().float()
    found = named(check_case(given), "state-rounded")
    assert found.cause == "precision-loss"
    assert "'exp_avg_sq' fits into" in found.sentence


def test_weights_that_the_script_makes_smaller_after_each_step() -> None:
    given = case(cnn())
    assert named(check_case(replace(given, weights_times=0.9995)), "weight-decay").cause is None
    found = named(check_case(replace(given, weights_times=0.99)), "weight-decay")
    assert found.cause == "weight-decay-too-strong"
    assert "by 0.99: after 100 steps 36.6 %" in found.sentence


@pytest.mark.parametrize(
    ("leaves", "cause"),
    [
        (AnswerLeaves(own=6, foreign=()), None),
        (AnswerLeaves(own=6, foreign=((4,),)), None),  # a threshold or a temperature of its own
        (AnswerLeaves(own=6, foreign=((4, 16), (4,))), "parameters-not-optimised"),
        (AnswerLeaves(own=0, foreign=((4, 16), (4,))), None),  # told where no gradient came
    ],
)
def test_weights_that_the_answer_hangs_on_and_no_optimizer_holds(
    leaves: AnswerLeaves, cause: str | None
) -> None:
    found = named(check_case(case(cnn(), answer_leaves=leaves)), "optimizer-coverage")
    assert found.cause == cause


def test_an_answer_computed_with_copies_of_the_weights() -> None:
    model = cnn()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    given = replace(
        case(cnn()),
        model=model,
        optimizers=(adam(model),),
        initial_state=state,
        gradients_cleared=None,
        gradient_norms=(),
        answer_leaves=AnswerLeaves(own=0, foreign=((8, 3, 3, 3), (8,))),
    )
    found = named(check_case(given), "step-taken")
    assert found.cause == "graph-detached"
    assert "hangs on 2 tensors that are none of its parameters" in found.sentence


@pytest.mark.parametrize(
    ("stream", "counts", "cause"),
    [
        ((400, 200, 100, 50), (400, 200, 100, 50), None),  # shuffled plainly
        ((190, 185, 190, 185), (400, 200, 100, 50), None),  # a balanced sampler
        ((50, 100, 200, 400), (400, 200, 100, 50), "double-correction"),
        ((800, 200, 50, 12), (400, 200, 100, 50), "class-imbalance"),
        ((50, 100, 200, 400), (100, 99, 101, 100), None),  # nothing uneven is known to compare with
    ],
)
def test_how_often_each_class_is_drawn(
    stream: tuple[int, ...], counts: tuple[int, ...], cause: str | None
) -> None:
    found = named(check_case(case(label_counts=(stream,), class_counts=counts)), "drawn-by-class")
    assert found.cause == cause


def test_where_copies_were_made_the_evaluation_tells_how_often_classes_come() -> None:
    labels = torch.arange(4).repeat_interleave(torch.tensor([40, 20, 10, 5]))
    seen = CapturedBatch(args=(batch(75)[0],), targets=labels, training=False)
    given = case(label_counts=((50, 100, 200, 400),), class_counts=(100,) * 4, evaluation=(seen,))
    found = named(check_case(given), "drawn-by-class")
    assert found.cause == "double-correction"
    assert found.evidence["data_of"] == "the evaluation's"


def test_images_of_which_hardly_anything_is_left() -> None:
    given = case(cnn())
    assert named(check_case(given), "blanked-images").outcome == "passed"
    masked = []
    for one in given.batches:
        images = one.args[0].clone()
        images[:, :, 3:] = 0
        masked.append(replace(one, args=(images,), loss=None))
    found = named(check_case(replace(given, batches=tuple(masked))), "blanked-images")
    assert found.cause == "augmentation-too-strong"
    # Where evaluation images are as flat, that is how these images are.
    flat = tuple(replace(one, training=False) for one in masked)
    told = named(
        check_case(replace(given, batches=tuple(masked), evaluation=flat)), "blanked-images"
    )
    assert told.outcome == "passed"
