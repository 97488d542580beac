"""Methods at equal budget: what is trained, what is not trained again, and what the table says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from everyclass.cli import main
from everyclass.errors import InputError
from everyclass.workflows import compare as module
from everyclass.workflows import series
from everyclass.workflows.compare import CompareOptions, Comparison, MethodResult, compare
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.job import NonFiniteLoss

SMALL = {
    "model": "test_resnet",
    "image_size": 32,
    "batch_size": 16,
    "threads": 1,
    "device": "cpu",
}


def options(epochs: int = 1, seeds: int = 2) -> CompareOptions:
    return CompareOptions(epochs=epochs, seeds=seeds, wishes=SMALL)


def result(name: str, *values: float) -> MethodResult:
    runs = tuple({key: value for key, _ in module.FIGURES} for value in values)
    return MethodResult(name=name, runs=runs)


@pytest.fixture(scope="module")
def compared(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compared")
    data = DataSource(source=str(image_folder))
    found = compare(data, ["none", "focal+balanced-sampling"], out=out, options=options())
    assert [len(one.runs) for one in found.methods] == [2, 2]
    return out


def test_each_method_has_a_run_a_seed_and_its_recipe(compared: Path) -> None:
    runs = {path.parent.relative_to(compared).as_posix() for path in compared.rglob("recipe.yaml")}
    names = ("none", "focal+balanced-sampling")
    assert runs == {f"{name}/seed-{seed}" for name in names for seed in (0, 1)}
    saved = json.loads((compared / "comparison.json").read_text())
    evaluation = json.loads((compared / "none/seed-1/evaluation.json").read_text())
    ours = saved["methods"][0]["runs"][1]
    assert ours["balanced_accuracy"] == evaluation["balanced_accuracy"]
    assert ours["worst_recall"] == min(one["recall"] for one in evaluation["classes"])
    values = [run["accuracy"] for run in saved["methods"][0]["runs"]]
    assert saved["methods"][0]["accuracy"]["mean"] == pytest.approx(sum(values) / 2)


def test_finished_runs_are_not_trained_again(
    compared: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "train", lambda *_, **__: pytest.fail("trained"))
    again = compare(
        DataSource(source=str(image_folder)),
        ["focal+balanced-sampling", "none"],
        out=compared,
        options=options(),
    )
    assert [one.name for one in again.methods] == ["focal+balanced-sampling", "none"]
    with pytest.raises(InputError, match="was trained with epochs = 1; now 2"):
        compare(
            DataSource(source=str(image_folder)), ["none"], out=compared, options=options(epochs=2)
        )


def test_an_interrupted_comparison_goes_on(image_folder: Path, tmp_path: Path) -> None:
    data = DataSource(source=str(image_folder))

    def stop(event: object) -> None:
        if type(event).__name__ == "EpochDone":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(data, ["none"], out=tmp_path, options=options(2, 1), on_event=stop)
    found = compare(data, ["none"], out=tmp_path, options=options(2, 1))
    assert len(found.methods[0].runs) == 1
    assert found.methods[0].interval("accuracy") is None


def test_a_method_that_fails_stays_listed(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise NonFiniteLoss("The loss became nan at step 3.")

    monkeypatch.setattr(series, "train", fail)
    found = compare(
        DataSource(source=str(image_folder)), ["none"], out=tmp_path, options=options(1, 1)
    )
    assert found.methods[0].failures == ("seed 0: The loss became nan at step 3.",)
    assert "failed" in str(found)
    assert "none: seed 0: The loss became nan" in str(found)


def test_the_table_is_ranked_and_has_intervals() -> None:
    # .6, .7, .8: mean .7, s = .1, t = 4.303: half 4.303 x .1/sqrt(3) = .248.
    table = str(
        Comparison(
            methods=(result("a", 0.5, 0.5, 0.5), result("b", 0.6, 0.7, 0.8)),
            epochs=5,
            seeds=3,
            split="test",
        )
    ).splitlines()
    assert table[2].startswith("b       0.700 (0.452 to 0.948)")
    assert table[3].startswith("a       0.500 (0.500 to 0.500)")
    assert table[4] == (
        "5 epochs, 3 seeds, judged on the test split; mean and 95 % interval over the seeds."
    )


def test_unknown_methods_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nonsense"):
        compare(DataSource(source="nowhere"), ["none", "nonsense"], out=tmp_path, options=options())
    with pytest.raises(InputError, match="0 methods"):
        compare(DataSource(source="nowhere"), [], out=tmp_path, options=options())


def test_the_command_prints_the_table(
    image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    command = ["compare", str(image_folder), "--methods", "none", "--epochs", "1", "--seeds", "1"]
    with pytest.raises(SystemExit) as stop:
        main([*command, "--out", str(tmp_path / "runs"), *sets])
    assert not stop.value.code
    shown = capsys.readouterr()
    assert "balanced accuracy" in shown.out
    assert "one seed has no interval" in shown.out
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 2
