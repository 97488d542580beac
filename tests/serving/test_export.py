"""`everyclass export`: each format answers as PyTorch does, by itself, and knows what it is.

Kinds: oracle (PyTorch in this process; onnxruntime, openvino and torch in a process without
everyclass), property (nothing is left behind by a failure), golden words of errors.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from everyclass import cli
from everyclass.errors import EveryclassError, InputError
from everyclass.models.backbones import build_backbone
from everyclass.models.classifier import Classifier
from everyclass.models.file import load_model, save_model
from everyclass.run_folder import RunFolder
from everyclass.serving import export as export_module
from everyclass.serving.artifact import Answers
from everyclass.serving.export import export
from everyclass.serving.metadata import metadata_of
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.train import TrainOptions, train
from image_folders import write_image_folder


def needs_extra(*packages: str) -> pytest.MarkDecorator:
    """Skip where an extra is not installed; the development environment has all of them."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


ONNX = needs_extra("onnx", "onnxscript", "onnxruntime")
OPENVINO = needs_extra("openvino", "onnx", "onnxscript")
FORMATS = [
    pytest.param("onnx", ".onnx", marks=ONNX),
    pytest.param("torch", ".pt2"),
    pytest.param("openvino", ".xml", marks=OPENVINO),
]

READERS = {
    "onnx": """
import onnxruntime
session = onnxruntime.InferenceSession(path)
names = [one.name for one in session.get_outputs()]
found = dict(zip(names, session.run(None, {"images": images})))
told = session.get_modelmeta().custom_metadata_map
classes, prior = json.loads(told["classes"]), json.loads(told["training_prior"])
""",
    "torch": """
import torch
extra = {"everyclass.json": ""}
program = torch.export.load(path, extra_files=extra).module()
found = {name: value.numpy() for name, value in program(torch.from_numpy(images)).items()}
told = json.loads(extra["everyclass.json"])
assert told == json.load(open(path + ".json", encoding="utf-8"))
classes, prior = told["classes"], told["training_prior"]
""",
    "openvino": """
import openvino
model = openvino.Core().read_model(path)
compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
answers = compiled({"images": images})
found = {name: answers[name] for name in ("probabilities", "balanced_scores")}
classes, prior = (
    json.loads(model.get_rt_info(["everyclass", key]).astype(str))
    for key in ("classes", "training_prior")
)
""",
}


@pytest.fixture(scope="module")
def served_run(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """test_resnet at 32 px, trained until it tells the three classes apart; images have 24 px."""
    out = tmp_path_factory.mktemp("served") / "run"
    wishes = {
        "model": "test_resnet",
        "image_size": 32,
        "epochs": 5,
        "batch_size": 8,
        "threads": 1,
        "device": "cpu",
    }
    source = DataSource(source=str(image_folder))
    train(source, out, TrainOptions(wishes=wishes), on_event=lambda _: None)
    return out


def copy_of(run: Path, to: Path) -> Path:
    """The run with what exporting reads, and no earlier export."""
    to.mkdir(parents=True)
    for name in (
        *("recipe.yaml", "manifest.parquet", "predictions.csv"),
        *("model.json", "model.safetensors"),
    ):
        shutil.copy(run / name, to / name)
    return to


def answered_elsewhere(form: str, path: Path, images: np.ndarray, folder: Path) -> dict:
    """What the file says in a process in which everyclass and timm cannot be imported."""
    np.save(folder / "images.npy", images)
    script = (
        "import json, sys\nimport numpy as np\n"
        "sys.modules['everyclass'] = sys.modules['timm'] = None\n"
        f"path = {str(path)!r}\nimages = np.load({str(folder / 'images.npy')!r})\n"
        f"{READERS[form]}\n"
        f"np.savez({str(folder / 'found.npz')!r}, **found)\n"
        "print(json.dumps({'classes': classes, 'prior': prior}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    told: dict = json.loads(done.stdout.strip().splitlines()[-1])
    with np.load(folder / "found.npz") as arrays:
        return {**told, **{name: arrays[name] for name in arrays.files}}


@pytest.mark.parametrize(("form", "ending"), FORMATS)
def test_a_file_answers_as_pytorch_without_everyclass(
    served_run: Path, tmp_path: Path, form: str, ending: str
) -> None:
    out = tmp_path / f"waste{ending}"
    found = export(served_run, out, format=form)  # type: ignore[arg-type]
    assert found.files[0] == out
    assert found.parity.n > 10
    assert found.parity.natural_agree == found.parity.balanced_agree == found.parity.n
    assert found.parity.largest_difference < 1e-4
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in found.files}

    model = load_model(served_run)
    rng = np.random.default_rng(3)
    for n, high, wide in ((1, 32, 32), (3, 47, 90)):  # one image; a batch of another shape
        images = rng.integers(0, 256, (n, 3, high, wide), dtype=np.uint8)
        answers = answered_elsewhere(form, out, images, tmp_path)
        with torch.inference_mode():
            logits = model.classifier(torch.from_numpy(images)).numpy()
        wanted = model.decision.probabilities(logits)
        np.testing.assert_allclose(answers["probabilities"], wanted, atol=1e-4)
        assert answers["balanced_scores"].shape == wanted.shape
        assert answers["classes"] == ["ash", "birch", "cedar"]
        assert answers["prior"] == list(model.decision.natural_prior)


@pytest.mark.parametrize(("form", "ending"), FORMATS)
def test_files_hold_no_path_of_the_machine_that_wrote_them(
    served_run: Path, tmp_path: Path, form: str, ending: str
) -> None:
    found = export(served_run, tmp_path / f"m{ending}", format=form)  # type: ignore[arg-type]
    here = str(Path(__file__).parents[2]).encode()
    for path in found.files:
        content = path.read_bytes()
        assert here not in content
        assert b"site-packages" not in content


@ONNX
@pytest.mark.parametrize(
    ("name", "side", "cosine_head"),
    [("tutorial", 36, False), ("resnet10t", 32, True), ("test_vit", 32, False)],
)
def test_other_networks(
    served_run: Path, tmp_path: Path, name: str, side: int, cosine_head: bool
) -> None:
    """The tutorial's, the default with a cosine head, and attention; with random weights."""
    run, model = copy_of(served_run, tmp_path / "run"), load_model(served_run)
    backbone = build_backbone(
        name, side=side, n_classes=3, seed=0, small_stem=False, cosine_head=cosine_head
    )
    classifier = Classifier(backbone.network, replace(model.classifier.preprocessing, side=side))
    decision = replace(model.decision, temperature=0.7, tau=0.5)
    save_model(
        run,
        replace(
            model,
            classifier=classifier.eval(),
            name=name,
            small_stem=False,
            cosine_head=cosine_head,
            decision=decision,
        ),
    )
    found = export(run)
    assert found.files == (run / "model.onnx",)
    assert found.parity.largest_difference < 1e-4
    assert found.metadata["image_side"] == side
    assert found.metadata["tau"] == 0.5


class Turning(nn.Module):
    """A network whose course depends on what it sees: no graph holds it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(inputs)
        return logits if logits.sum() > 0 else -logits


def test_a_network_that_no_graph_holds_is_told_in_one_message(
    served_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(served_run)
    model.classifier.network = Turning(model.classifier.network)
    monkeypatch.setattr(export_module, "load_model", lambda _: model)
    with pytest.raises(EveryclassError, match="cannot turn 'test_resnet' into a graph") as told:
        export(served_run, tmp_path / "m.pt2", format="torch")
    assert not isinstance(told.value, InputError)
    assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("spoiled", [0.99, float("nan")])
def test_answers_that_differ_leave_no_file(
    served_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoiled: float
) -> None:
    real = export_module.torch_file.to_torch

    def wrong(*arguments: object) -> object:
        artifact = real(*arguments)  # type: ignore[arg-type]

        def answer(images: np.ndarray) -> Answers:
            answers = artifact.answer(images)
            return replace(answers, probabilities=answers.probabilities * np.float32(spoiled))

        return replace(artifact, answer=answer)

    monkeypatch.setattr(export_module.torch_file, "to_torch", wrong)
    out = tmp_path / "m.pt2"
    with pytest.raises(SystemExit) as stopped:
        cli.main(["export", str(served_run), "--format", "torch", "--out", str(out)])
    assert stopped.value.code == 1
    assert not list(tmp_path.iterdir())


def test_images_of_another_folder_need_no_labels(served_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "loose"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k, (high, wide) in enumerate(((20, 31), (20, 31), (80, 40))):
        pixels = rng.integers(0, 256, (high, wide, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    (folder / "broken.jpg").write_bytes(b"no image")
    found = export(served_run, tmp_path / "m.pt2", format="torch", images=str(folder))
    assert (found.parity.n, found.parity.unreadable) == (3, 1)


def test_images_that_moved_are_asked_for(
    served_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy_of(served_run, tmp_path / "run")
    text = (run / "predictions.csv").read_text()
    gone = text.replace("stripes", "elsewhere")
    assert gone != text
    (run / "predictions.csv").write_text(gone)
    with pytest.raises(InputError, match=r"images are gone: .*--images"):
        export(run, format="torch")


# -- eight bits ------------------------------------------------------------------------------------


@ONNX
def test_eight_bits_are_smaller_and_their_cost_is_counted(
    served_run: Path, image_folder: Path, tmp_path: Path
) -> None:
    import onnx

    out = tmp_path / "small.onnx"
    found = export(served_run, out, quantise="int8")
    cost = found.cost
    assert cost is not None
    assert cost.bytes_after == out.stat().st_size
    assert cost.bytes_after < 0.5 * cost.bytes_before
    assert cost.rate_before > 0
    assert cost.agree >= 0.8 * cost.n
    # The recalls in float32 are the run's own: these PNG files are decoded in one way only.
    evaluation = json.loads((served_run / "evaluation.json").read_text())
    assert [(one.name, one.n) for one in cost.classes] == [
        (one["name"], one["n"]) for one in evaluation["classes"]
    ]
    for one, stored in zip(cost.classes, evaluation["classes"]):
        assert one.before / one.n == pytest.approx(stored["recall"])

    graph = onnx.load(out)
    told = {one.key: one.value for one in graph.metadata_props}
    assert told["quantised"].startswith("int8")
    assert json.loads(told["classes"]) == ["ash", "birch", "cedar"]
    # Resizing stays as it is: no quantised value before the first product with parameters.
    kinds = [node.op_type for node in graph.graph.node]
    before = kinds[: kinds.index("Conv")]
    assert "MatMul" in before
    assert before.count("QuantizeLinear") == 1  # of what the network is given
    # And so does what follows the logits.
    made_by = {name: node for node in graph.graph.node for name in node.output}
    softmax = next(node for node in graph.graph.node if node.op_type == "Softmax")
    waiting, seen = list(softmax.input), set()
    while waiting:
        node = made_by.get(waiting.pop())
        if node is not None and node.op_type not in ("Gemm", "MatMul"):
            seen.add(node.op_type)
            waiting.extend(node.input)
    assert "DequantizeLinear" not in seen


@ONNX
def test_eight_bits_on_images_without_labels_are_refused(served_run: Path, tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "images", {"oak": 3, "elm": 3})
    with pytest.raises(InputError, match=r"None of 6 images .* has a label that the model knows"):
        export(served_run, tmp_path / "m.onnx", quantise="int8", images=str(folder))
    assert not (tmp_path / "m.onnx").exists()


# -- metadata --------------------------------------------------------------------------------------


def recipe_with(run: Path, **values: object) -> None:
    """Rewrite settings of the run's recipe."""
    import yaml

    path = run / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text())
    for name, (value, why) in values.items():  # type: ignore[misc]
        recipe[name] = {"value": value, "why": why, "origin": "user"}
    path.write_text(yaml.safe_dump(recipe))


def test_metadata_tell_where_weights_come_from(served_run: Path, tmp_path: Path) -> None:
    run, model = copy_of(served_run, tmp_path / "run"), load_model(served_run)
    plain = metadata_of(RunFolder(run), model)
    assert plain["pretrained_weights"] == "none: trained from scratch"
    assert sum(plain["training_counts"]) > 80
    shares = np.array(plain["training_counts"]) / sum(plain["training_counts"])
    np.testing.assert_allclose(shares, plain["training_prior"], atol=1e-6)
    recipe_with(run, pretrained=(True, "asked for"))
    told = metadata_of(RunFolder(run), replace(model, name="resnet18"))["pretrained_weights"]
    assert told == {"source": "timm/resnet18.a1_in1k", "licence": "apache-2.0"}
    why = "on this machine: some_net, ImageNet, from a package (licence: MIT)"
    recipe_with(run, pretrained=(False, "no"), weights_file=("a/b/net.pth", why))
    told = metadata_of(RunFolder(run), model)["pretrained_weights"]
    assert told == {"source": "net.pth", "licence": why}


# -- the command -----------------------------------------------------------------------------------


def test_the_command_says_what_a_user_needs(
    served_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, told = tmp_path / "m.pt2", tmp_path / "told.json"
    words = ["export", str(served_run), "--format", "torch", "--out", str(out)]
    with pytest.raises(SystemExit) as stopped:
        cli.main([*words, "--json", str(told)])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert f"Written: {out} and {out}.json" in shown
    assert "probabilities (batch, 3)" in shown
    assert "natural and" in shown
    result = json.loads(told.read_text())
    assert result["files"] == [str(out), f"{out}.json"]
    assert result["parity"]["natural_agree"] == result["parity"]["n"]

    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2
    assert "exists already. Choose another --out, or add --overwrite." in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        cli.main([*words, "--overwrite", "--quiet"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "tflite"], "--format cannot be 'tflite'. Use onnx or torch or openvino."),
        (["--format", "torch", "--quantise", "int8"], "--quantise int8 is for --format onnx"),
        (["--quantise", "int4"], "--quantise cannot be 'int4'. Use int8."),
        (["--format", "torch", "--out", "m.onnx"], "m.onnx ends in .onnx; --format torch writes"),
        (["--format", "torch", "--images", "nowhere"], "nowhere does not exist"),
    ],
)
def test_wrong_words_are_one_message(
    served_run: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["export", str(served_run), *words])
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_no_run_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["export", str(tmp_path)])
    assert stopped.value.code == 2
    assert "is not a run" in capsys.readouterr().err


def test_a_missing_extra_says_what_to_install(
    served_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs onnx and .*pip install 'everyclass\[export\]'"):
        export(served_run, tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"needs openvino and .*install 'everyclass\[openvino\]'"):
        export(served_run, tmp_path / "m.xml", format="openvino")


def test_a_folder_that_cannot_be_written_to(served_run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        export(served_run, tmp_path / "file" / "m.pt2", format="torch")
