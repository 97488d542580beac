"""Models of every shape: what they take, what they return, what cannot be done with them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from checks_zoo import adam, batch, cnn
from torch import Tensor, nn
from torch.nn import functional

from everyclass.diagnosis.check import CheckReport, check
from everyclass.errors import InputError


@dataclass
class Output:
    features: Tensor
    logits: Tensor


class Wrapped(nn.Module):
    """A network whose inputs and outputs are wrapped in what `kind` says."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.network, self.kind = cnn(), kind

    def forward(self, pixel_values: Tensor, scale: Tensor | None = None) -> Any:
        logits = self.network(pixel_values if scale is None else pixel_values * scale[:, None])
        if self.kind == "tuple":
            return logits, pixel_values.mean()
        if self.kind == "dict":
            return {"aux": pixel_values.mean(), "logits": logits}
        return Output(features=pixel_values.flatten(1), logits=logits)


@pytest.mark.parametrize("kind", ["tuple", "dict", "dataclass"])
@pytest.mark.parametrize("given", ["tensor", "several", "keywords"])
def test_inputs_and_outputs_of_every_form(kind: str, given: str) -> None:
    images, targets = batch()
    scale = torch.ones(32, 1, 1)
    inputs: Any = {
        "tensor": images,
        "several": (images, scale),
        "keywords": {"pixel_values": images, "scale": scale},
    }[given]
    model = Wrapped(kind)
    report = check(model, (inputs, targets), nn.CrossEntropyLoss(), adam(model), initial=True)
    assert not report.issues, str(report)
    assert outcome(report, "rows-independent") == "passed"
    assert outcome(report, "one-batch-fits") == "passed"


def test_a_function_of_the_whole_output() -> None:
    model = Wrapped("dataclass")
    report = check(model, batch(), lambda out, y: functional.cross_entropy(out.logits.relu(), y))
    assert [issue.cause for issue in report.issues] == ["output-activation-wrong"]


def test_a_hugging_face_model_that_computes_its_own_loss() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = transformers.ViTForImageClassification(
        transformers.ViTConfig(
            image_size=16,
            patch_size=4,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            num_labels=4,
        )
    )
    images, targets = batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    given = {"pixel_values": images, "labels": targets}
    report = check(model, given, None, optimizer, initial=True)
    assert not report.issues, str(report)
    assert outcome(report, "outputs-are-scores") == "passed"
    report = check(model, given, nn.CrossEntropyLoss(), adam(model))
    assert not report.issues, str(report)
    report = check(model, {"pixel_values": images * 200 + 300, "labels": targets}, None, optimizer)
    assert "inputs-not-scaled" in [issue.cause for issue in report.issues]


def test_a_model_that_cannot_be_copied_is_checked_without_the_copy() -> None:
    model = cnn()
    model.lock = threading.Lock()
    report = check(model, batch(), functional.cross_entropy, adam(model))
    found = next(one for one in report.results if one.name == "one-batch-fits")
    assert found.outcome == "not-applicable"
    assert "cannot be copied" in found.sentence
    assert not report.issues


def test_a_model_that_insists_on_its_batch_size() -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = cnn()

        def forward(self, inputs: Tensor) -> Tensor:
            if inputs.shape[0] != 40:
                raise ValueError("40 images please")
            return self.network(inputs)

    model = Stubborn()
    report = check(model, batch(40), functional.cross_entropy, adam(model))
    assert not report.issues
    assert outcome(report, "input-scale") == "passed"


def test_checkpointed_layers_give_gradients() -> None:
    from torch.utils.checkpoint import checkpoint

    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.rest = cnn()[:7], cnn()[7:]

        def forward(self, inputs: Tensor) -> Tensor:
            inputs = inputs.clone().requires_grad_()
            return self.rest(checkpoint(self.features, inputs, use_reentrant=True))

    model = Saving()
    report = check(model, batch(), functional.cross_entropy, adam(model))
    assert not report.issues, str(report)
    connected = next(one for one in report.results if one.name == "loss-connected")
    assert connected.evidence["reached"] == 8
    assert all(parameter.grad is None for parameter in model.parameters())


def test_parallel_and_compiled_wrappers_are_taken_off() -> None:
    model = cnn()
    for wrapped in (nn.DataParallel(model), torch.compile(model)):
        report = check(wrapped, batch(), functional.cross_entropy, adam(model))
        assert not report.issues, str(report)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": "resnet18"}, "model is of type str"),
        ({"loss_fn": "cross_entropy"}, "loss_fn is of type str"),
        ({"optimizer": "adam"}, "optimizer is of type str"),
        ({"batch": (1, 2, 3)}, "batch is a tuple of 3, not"),
        ({"batch": {"pixel_values": torch.zeros(2, 3)}}, "without targets"),
        ({"batch": (torch.zeros(4, 3), [0, 1])}, "targets of batch are a list of 2"),
        ({"batch": (torch.zeros(4, 3), torch.zeros(3))}, "3 targets for inputs of"),
        ({"batch": (torch.zeros(4, 3), torch.zeros(4))}, "could not be run on the batch"),
        ({"class_counts": (1, 2), "classes": ("a",)}, "2 class_counts for 1 classes"),
        ({"model": nn.LazyLinear(4)}, "lazy layers"),
    ],
)
def test_bad_arguments_are_input_errors(arguments: dict[str, Any], words: str) -> None:
    model = cnn()
    given: dict[str, Any] = {
        "model": model,
        "batch": batch(),
        "loss_fn": functional.cross_entropy,
        "optimizer": adam(model),
    }
    with pytest.raises(InputError, match=words) as caught:
        check(**(given | arguments))
    assert caught.value.remedy


def test_the_report_reads_well_and_is_json() -> None:
    import json

    model = nn.Sequential(cnn(), nn.ReLU())
    report = check(model, batch(), functional.cross_entropy, adam(model))
    text = str(report)
    assert text.startswith(f"{len(report.results)} checks, 1 issue (")
    assert "output-activation-wrong: A ReLU follows the last layer" in text
    assert "Not applicable:" in text
    back = json.loads(json.dumps(report.to_dict()))
    assert [one["name"] for one in back["results"]] == [one.name for one in report.results]
    html = report._repr_html_()
    assert "<b>output-activation-wrong</b>" in html
    assert html.count("<ul>") == html.count("</ul>") == 2
    names = [one.name for one in report.results]
    assert len(set(names)) == len(names)


def outcome(report: CheckReport, name: str) -> str:
    return next(one.outcome for one in report.results if one.name == name)
