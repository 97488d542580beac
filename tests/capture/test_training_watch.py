"""What the callbacks share: missing frameworks, evaluations of another kind, steps, rates."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from everyclass.capture.passes import Lookup
from everyclass.capture.training_watch import TrainingWatch, WatchOptions, import_framework
from everyclass.errors import InputError


def _watch(model: nn.Module, **given: Any) -> TrainingWatch:
    options: dict[str, Any] = {
        "lookup": Lookup(),
        "classes": None,
        "false_alarm_probability": 0.01,
        "on_finding": None,
        "logger": None,
        "log_every_steps": 50,
    }
    return TrainingWatch(
        model,
        [torch.optim.SGD(model.parameters(), 0.1)],
        options=WatchOptions(**(options | given)),
        steps_per_epoch=None,
        first_rank=True,
    )


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(32, 4), torch.randint(0, 3, (32,))


def test_missing_framework_is_one_error_with_the_command() -> None:
    with pytest.raises(InputError) as error:
        import_framework("no_such_framework.engine", install="everyclass[ignite]")
    assert str(error.value) == (
        "no_such_framework.engine is not installed. pip install 'everyclass[ignite]'"
    )


def test_what_a_framework_itself_misses_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_a_framework.py").write_text("import no_such_part\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_part"):
        import_framework("half_a_framework", install="half")
    sys.modules.pop("half_a_framework", None)


def test_evaluation_of_another_kind_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    watch = _watch(model)
    for _ in range(4):
        inputs, targets = _batch()
        watch.batch_begins("training")
        model(inputs)
        watch.batch_ends("training", (inputs, targets))
        watch.steps_taken(watch.monitor.steps + 1)
    with caplog.at_level(logging.WARNING, logger="everyclass"):
        for _ in range(4):  # images without labels
            watch.batch_begins("evaluation")
            model(inputs)
            watch.batch_ends("evaluation", (inputs,))
        watch.evaluation_ends()
    assert len(caplog.records) == 1
    assert "does not watch the evaluation. No pair of an output" in caplog.records[0].message
    assert watch.monitor.summary().evaluation is None
    figures = watch.monitor.summary().figures
    assert figures is not None
    assert figures.images == 4 * 32


def test_first_training_batch_without_targets_is_an_error_and_unhooks() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    watch = _watch(model)
    watch.batch_begins("training")
    inputs, _ = _batch()
    model(inputs)
    with pytest.raises(InputError, match="No pair of an output"):
        watch.batch_ends("training", {"image": inputs})
    assert not any(one._forward_hooks for one in model.modules())


def test_resumed_training_goes_on_at_its_step() -> None:
    watch = _watch(nn.Sequential(nn.Linear(4, 3)))
    watch.steps_taken(1000)
    assert watch.monitor.steps == 1000
    watch.steps_taken(1001)
    assert watch.monitor.steps == 1001
