"""A training on archives, judged on Parquet, predicting for both: commands see no difference."""

from __future__ import annotations

import csv
import json
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from everyclass.cli import main
from image_folders import write_image_folder

LONG_AGO = 1_700_000_000


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same images as a folder, in two archives, and in a Parquet file."""
    root = tmp_path_factory.mktemp("sources")
    folder = write_image_folder(root / "folder", {"ash": 24, "birch": 24})
    files = sorted(folder.rglob("*.png"))
    for shard in range(2):
        (root / "shards").mkdir(exist_ok=True)
        with tarfile.open(root / f"shards/{shard}.tar", "w") as archive:
            for path in files[shard::2]:
                archive.add(path, f"{path.parent.name}/{path.name}")
        os.utime(root / f"shards/{shard}.tar", (LONG_AGO, LONG_AGO))
    images = [{"bytes": path.read_bytes(), "path": path.name} for path in files]
    labels = [path.parent.name for path in files]
    pq.write_table(pa.table({"image": images, "label": labels}), root / "rows.parquet")
    return {
        "folder": str(folder),
        "tar": str(root / "shards/{0..1}.tar"),
        "parquet": str(root / "rows.parquet"),
    }


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--quiet"])
    return int(stop.value.code or 0)


def test_train_on_archives_and_use_it_on_the_rest(
    sources: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = str(tmp_path / "run")
    options = ["--model", "test_resnet", "--image-size", "24", "--epochs", "1", "--threads", "1"]
    options += ["--device", "cpu", "--seed", "1"]
    assert command("train", sources["tar"], "--out", run, *options) == 0
    with open(tmp_path / "run/predictions.csv", newline="") as file:
        assert all(row["image"].startswith("tar://") for row in csv.DictReader(file))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the images of the first training are kept")

    # The second training finds its audit and its decoded images in the cache.
    with monkeypatch.context() as patched:
        patched.setattr("everyclass.images.examine.decode_resized", refuse)
        patched.setattr("everyclass.images.store.load_image", refuse)
        again = str(tmp_path / "again")
        assert command("train", sources["tar"], "--out", again, *options) == 0
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "again")]
    assert weights[0] == weights[1]

    found = {}
    for kind in ("folder", "tar", "parquet"):
        result = tmp_path / f"{kind}.json"
        options = ["--split", "all", "--json", str(result)]
        assert command("evaluate", run, sources[kind], *options) == 0
        out = tmp_path / f"{kind}.csv"
        assert command("predict", run, sources[kind], "--out", str(out)) == 0
        with out.open(newline="") as file:
            rows = list(csv.DictReader(file))
        found[kind] = sorted(row["prob_ash"] for row in rows)
        assert len(rows) == 48
        assert all(row["image"] for row in rows)
    assert found["folder"] == found["tar"] == found["parquet"]
    assert command("audit", sources["parquet"]) == 0


def test_options_that_do_not_fit_are_told(
    sources: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("audit", sources["tar"], "--label-column", "nothing") == 2
    assert "has 'nothing': neither as the ending of a file" in capsys.readouterr().err
    assert command("audit", sources["tar"].replace("1}", "5}")) == 2
    assert "4 are not there (first: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "result", "options"),
    [
        ("compare", "comparison.json", ["--methods", "none,logit-adjustment", "--seeds", "1"]),
        ("crossval", "crossval.json", ["--folds", "2"]),
        ("curve", "curve.json", ["--shares", "0.5,1", "--repeats", "1", "--halve", "0"]),
    ],
)
def test_series_of_trainings_take_them_too(
    sources: dict[str, str], tmp_path: Path, name: str, result: str, options: list[str]
) -> None:
    quick = ["--model", "test_resnet", "--image-size", "24", "--epochs", "1", "--set", "threads=1"]
    found = []
    for kind in ("folder", "tar", "parquet"):
        out = tmp_path / kind
        assert command(name, sources[kind], "--out", str(out), *options, *quick) == 0, kind
        found.append(json.loads((out / result).read_text()))
    assert all(one.keys() == found[0].keys() for one in found)
