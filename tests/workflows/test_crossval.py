"""Cross-validation: flipped labels are found, folds are kept, and other data are refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everyclass.cli import main
from everyclass.errors import InputError
from everyclass.run_folder import RunFolder
from everyclass.workflows import series
from everyclass.workflows.crossval import CrossvalOptions, crossval
from everyclass.workflows.crossval_result import CrossValidation
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.series import recipe_of

SMALL = {
    "model": "test_resnet",
    "image_size": 32,
    "batch_size": 16,
    "epochs": 5,
    "learning_rate": 0.005,
    "threads": 1,
    "device": "cpu",
}
COUNTS = {"red": 60, "green": 40, "blue": 20}
FLIPPED = {"red": ("green", 4), "green": ("blue", 2), "blue": ("red", 2)}
"""Class -> the class whose images stand in its folder, and how many."""


def write_colours(folder: Path) -> Path:
    """Images that are mostly of their class's colour; the last ones of a class wear another's
    label. The wrong ones are named so."""
    rng = np.random.default_rng(0)
    shades = {name: np.eye(3)[k] for k, name in enumerate(COUNTS)}
    for name, count in COUNTS.items():
        (folder / name).mkdir(parents=True)
        other, wrong = FLIPPED[name]
        for k in range(count):
            flipped = k >= count - wrong
            shade = shades[other if flipped else name]
            pixels = 90 + 90 * shade + rng.normal(0, 40, size=(24, 24, 3))
            path = folder / name / f"{'wrong' if flipped else 'right'}_{k:03d}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("colours") / "data")


@pytest.fixture(scope="module")
def crossed(
    colours: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, CrossValidation]:
    out = tmp_path_factory.mktemp("crossed")
    return out, run(colours, out)


def run(colours: Path, out: Path, n_folds: int = 3, **wishes: object) -> CrossValidation:
    options = CrossvalOptions(n_folds=n_folds, wishes={**SMALL, **wishes})
    return crossval(DataSource(source=str(colours)), out=out, options=options)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_most_flipped_labels_are_listed_and_few_right_ones(
    crossed: tuple[Path, CrossValidation],
) -> None:
    _, result = crossed
    listed = [one.name for one in result.suspects]
    wrong = [name for name in listed if "wrong" in name]
    assert len(wrong) >= 6  # of 8
    assert len(listed) - len(wrong) <= 4  # of 112 right ones
    for one in result.suspects:
        if "wrong" in one.name:
            assert one.suggested == FLIPPED[one.given][0]


def test_every_image_is_judged_once_by_a_model_that_has_not_seen_it(
    crossed: tuple[Path, CrossValidation],
) -> None:
    out, result = crossed
    rows = rows_of(out / "out_of_fold.csv")
    assert len(rows) == len({row["image"] for row in rows}) == sum(COUNTS.values()) == result.n
    for number in (1, 2, 3):
        judged = {row["image"] for row in rows if row["fold"] == str(number)}
        own = rows_of(out / f"fold-{number}" / "predictions.csv")
        assert judged == {row["image"] for row in own}
    assert [one.n for one in result.classes] == [20, 40, 60]  # blue, green, red
    for row in rows:
        probs = [float(row[f"prob_{name}"]) for name in COUNTS]
        assert sum(probs) == pytest.approx(1, abs=1e-6)


def test_the_files_say_what_the_value_says(crossed: tuple[Path, CrossValidation]) -> None:
    out, result = crossed
    saved = json.loads((out / "crossval.json").read_text())
    assert saved == json.loads(json.dumps(result.to_dict()))
    listed = rows_of(out / "label_errors.csv")
    assert [row["image"] for row in listed] == [one.image for one in result.suspects]
    assert [int(row["rank"]) for row in listed] == list(range(1, len(listed) + 1))
    scores = [float(row["score"]) for row in listed]
    assert scores == sorted(scores)
    # 15 % of 60, 40 and 20 are 9, 6 and 3: fewer than 21.
    assert saved["few_in_one_split"] == {"blue": 3, "green": 6, "red": 9}
    assert saved["fold_balanced_accuracy"]["mean"] == pytest.approx(
        np.mean(saved["fold_balanced_accuracy"]["values"])
    )


def test_all_folds_follow_the_recipe_of_the_first(crossed: tuple[Path, CrossValidation]) -> None:
    out, result = crossed
    recipes = [recipe_of(RunFolder(out / f"fold-{k}")).settings.model_dump() for k in (1, 2, 3)]
    assert [one["seed"] for one in recipes] == [0, 1, 2]
    assert len({one["mean"] for one in recipes}) == 3  # each of its own training images
    for one in recipes:
        assert {name: one[name] for name in result.settings} == dict(result.settings)
    assert {"epochs", "imbalance", "batch_size"} <= set(result.settings)


def test_finished_folds_are_not_trained_again(
    crossed: tuple[Path, CrossValidation], colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, result = crossed
    before = {path: path.read_bytes() for path in sorted(out.glob("*.csv"))}
    monkeypatch.setattr(series, "train", lambda *_, **__: pytest.fail("trained"))
    assert run(colours, out).to_dict() == result.to_dict()
    assert {path: path.read_bytes() for path in sorted(out.glob("*.csv"))} == before


def test_other_wishes_folds_and_data_are_refused(
    crossed: tuple[Path, CrossValidation], colours: Path, tmp_path: Path
) -> None:
    out, _ = crossed
    with pytest.raises(InputError, match="trained with epochs = 5; now 6 is asked for"):
        run(colours, out, epochs=6)
    without = CrossvalOptions(n_folds=3, wishes={k: v for k, v in SMALL.items() if k != "epochs"})
    with pytest.raises(InputError, match="with epochs as it was asked for; now it is not"):
        crossval(DataSource(source=str(colours)), out=out, options=without)
    with pytest.raises(InputError, match=r"have another split.*--folds"):
        run(colours, out, n_folds=4)
    more = tmp_path / "more"
    shutil.copytree(colours, more)
    (more / "red/wrong_059.png").rename(more / "green/wrong_059.png")
    with pytest.raises(InputError, match=r"was started with other data: .*restore the data"):
        run(more, out)
    with pytest.raises(InputError, match="test_fraction plays no part"):
        run(colours, tmp_path / "new", test_fraction=0.2)
    with pytest.raises(InputError, match="holds a run"):
        run(colours, out / "fold-1")


def test_an_interrupted_fold_goes_on(colours: Path, tmp_path: Path) -> None:
    folds = list[int]()

    def stop(event: object) -> None:
        if type(event).__name__ == "EpochDone" and len(folds) == 2:
            raise KeyboardInterrupt

    options = CrossvalOptions(n_folds=2, wishes={**SMALL, "epochs": 2})
    data = DataSource(source=str(colours))
    with pytest.raises(KeyboardInterrupt):
        crossval(data, out=tmp_path, options=options, on_fold=folds.append, on_event=stop)
    first = tmp_path / "fold-1" / "evaluation.json"
    changed = first.stat().st_mtime_ns
    assert not (tmp_path / "crossval.json").exists()
    done = list[tuple[int, bool]]()
    crossval(
        data,
        out=tmp_path,
        options=options,
        on_done=lambda one: done.append((one.number, one.trained)),
    )
    assert done == [(1, False), (2, True)]
    assert first.stat().st_mtime_ns == changed


def test_the_command_prints_every_class_and_the_suspects(
    crossed: tuple[Path, CrossValidation], colours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, result = crossed
    sets = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    command = ["crossval", str(colours), "--folds", "3"]
    with pytest.raises(SystemExit) as stop:
        main([*command, "--out", str(out), *sets])
    assert not stop.value.code
    shown = capsys.readouterr()
    assert "fold 2 of 3: was finished before: balanced accuracy" in shown.err
    assert "3 folds: 120 images" in shown.out
    assert "'blue' on about 3" in " ".join(shown.out.split())
    assert "Too few images even so: 'blue'" in " ".join(shown.out.split())
    assert f"{len(result.suspects)} labels of 120 may be wrong" in shown.out
    assert "wrong_" in shown.out
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 2
