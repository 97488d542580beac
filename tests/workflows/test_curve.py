"""A curve on a small set: what is trained, that nothing is trained twice, and what is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everyclass.cli import main
from everyclass.errors import EveryclassError, InputError
from everyclass.workflows import curve as module
from everyclass.workflows import curve_trainings
from everyclass.workflows.curve import CurveOptions, curve
from everyclass.workflows.curve_trainings import Cost, Planned
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.job import NonFiniteLoss
from image_folders import write_image_folder

SMALL = {"model": "test_resnet", "image_size": 32, "batch_size": 16, "threads": 1, "device": "cpu"}


def options(**changes: object) -> CurveOptions:
    base = {"epochs": 1, "shares": (0.5, 1.0), "repeats": 2, "halve": 1, "wishes": SMALL}
    return CurveOptions(**{**base, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSource:
    counts = {"ash": 60, "birch": 40, "cedar": 24}
    return DataSource(source=str(write_image_folder(tmp_path_factory.mktemp("set"), counts)))


@pytest.fixture(scope="module")
def made(data: DataSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("curve")
    costs, runs = list[Cost](), list[Planned]()
    found = curve(data, out=out, options=options(), on_cost=costs.append, on_run=runs.append)
    assert [(one.trainings, one.finished) for one in costs] == [(6, 0)]
    assert costs[0].seconds > 0
    assert len(runs) == 6
    # Half the images, twice the epochs: the same steps up to rounding.
    half, whole = runs[0], runs[1]
    assert (half.epochs, whole.epochs) == (2, 1)
    assert set(half.rows) < set(whole.rows)
    assert found.curve.repeats == 2
    return out


def test_runs_figures_and_recipes(made: Path) -> None:
    names = {path.parent.relative_to(made).as_posix() for path in made.rglob("recipe.yaml")}
    halved = {name for name in names if name.startswith("half-")}
    assert names - halved == {f"share-{s}/repeat-{r}" for s in ("0.5", "1") for r in (0, 1)}
    assert len(halved) == 2
    told = json.loads((made / "curve.json").read_text())
    assert told["shares"] == [0.5, 1.0]
    assert [one["name"] for one in told["classes"]] == ["ash", "birch", "cedar"]
    # Figures are those of the runs: mean recall of the class over the repeats.
    recalls = []
    for repeat in (0, 1):
        run = json.loads((made / f"share-1/repeat-{repeat}/evaluation.json").read_text())
        recalls.append(run["classes"][1]["recall"])
    assert told["classes"][1]["recalls"][-1] == pytest.approx(np.mean(recalls))
    (half,) = told["last_halves"]
    assert half["images_half"] * 2 == pytest.approx(half["images"], abs=1)
    assert {row["class"] for row in told["ranked"] if row["measured_alone"]} == {half["name"]}
    assert not (made / "cache").exists()


def test_finished_runs_are_not_trained_again(made: Path, data: DataSource) -> None:
    before = json.loads((made / "curve.json").read_text())
    runs, costs = list[Planned](), list[Cost]()
    found = curve(data, out=made, options=options(), on_run=runs.append, on_cost=costs.append)
    assert runs == []
    assert costs == [Cost(trainings=6, finished=6, seconds=0.0)]
    assert json.loads(json.dumps(found.to_dict())) == before
    with pytest.raises(InputError, match="was begun with epochs = 1; now 2 is asked for"):
        curve(data, out=made, options=options(epochs=2))
    kept = (made / module.RECIPE).read_bytes()
    (made / module.RECIPE).unlink()
    with pytest.raises(InputError, match=r"share-0\.5/repeat-0 was trained with epochs = 2; now 4"):
        curve(data, out=made, options=options(epochs=2))
    (made / module.RECIPE).write_bytes(kept)


def test_an_interrupted_curve_goes_on(data: DataSource, tmp_path: Path) -> None:
    few = options(repeats=1, halve=0)

    def stop(event: object) -> None:
        if type(event).__name__ == "EpochDone":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        curve(data, out=tmp_path, options=few, on_event=stop)
    runs = list[Planned]()
    found = curve(data, out=tmp_path, options=few, on_run=runs.append)
    assert len(runs) == 2
    assert found.curve.last_halves == ()


def test_a_repeat_that_fails_is_left_out_and_told(
    made: Path, data: DataSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = curve_trainings.train_prepared

    def fail(prepared: object, out: Path, *rest: object, **more: object) -> None:
        if out.as_posix().endswith("share-0.5/repeat-1"):
            raise NonFiniteLoss("The loss became nan at step 3.")
        whole(prepared, out, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(curve_trainings, "train_prepared", fail)
    found = curve(data, out=made, options=options())
    assert found.curve.repeats == 1
    assert found.notes[0] == "share-0.5/repeat-1: The loss became nan at step 3."
    broken = made / "share-0.5/repeat-1"
    monkeypatch.setattr(curve_trainings, "train_prepared", lambda *_, **__: fail(None, broken))
    with pytest.raises(EveryclassError, match="No repeat came to its end"):
        curve(data, out=made, options=options())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shares": (1.0,)}, "two in"),
        ({"shares": (0.5, 2.0)}, "two in"),
        ({"repeats": 0}, "0 repeats"),
        ({"halve_classes": ("oak",)}, "no class 'oak'"),
    ],
)
def test_what_cannot_be_done_is_refused_before_training(
    data: DataSource, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        curve(data, out=tmp_path, options=options(**changes), on_run=lambda _: pytest.fail("ran"))


def test_the_command_tells_the_cost_first_and_draws(
    made: Path, data: DataSource, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sets = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    command = ["curve", data.source, "--shares", "0.5", "--repeats", "1", "--epochs", "1"]
    command += ["--halve-class", "birch", *sets]
    with pytest.raises(SystemExit) as stop:
        main([*command, "--out", str(tmp_path / "c"), "--json", str(tmp_path / "c.json")])
    assert not stop.value.code
    shown = capsys.readouterr()
    assert shown.err.splitlines()[0].startswith("3 trainings: about ")
    assert "3 of 3: half of 'birch', all others, repeat 1" in shown.err
    assert "Expected from twice the images" in " ".join(shown.out.split())
    assert "One repeat: the luck of a training is not in the intervals" in " ".join(
        shown.out.split()
    )
    with Image.open(tmp_path / "c" / "curve.png") as picture:
        assert picture.width > 800
    assert (tmp_path / "c.json").read_bytes() == (tmp_path / "c" / "curve.json").read_bytes()
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 2
    assert "--out DIR" in capsys.readouterr().err
