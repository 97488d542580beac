"""Images inside Parquet and Arrow files: bytes, structs, Hugging Face's folders, and its hub."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from everyclass.errors import InputError
from everyclass.images import cells
from everyclass.images.audit import audit_images
from everyclass.images.audit_cache import AuditCache
from everyclass.images.contents import read_bytes
from everyclass.images.damage import UnreadableImage
from everyclass.images.readers import read_images, read_table
from everyclass.images.readers_hub import cached_shards
from everyclass.images.store_cache import open_shared
from everyclass.images.table import SetAside


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(value).integers(0, 40, size=(8, 8, 3))
    Image.fromarray((noise + 5 * value).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def settled(path: Path) -> Path:
    """As if it had been written long ago: what has just changed is not remembered."""
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def write_parquet(path: Path, images: list[Any], **columns: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": images, **columns}), path, row_group_size=3)
    return settled(path)


def refusal(source: Path | str, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_table(source, **options)
    return str(caught.value)


# Parquet


@pytest.mark.parametrize("as_struct", [False, True])
def test_images_in_a_parquet_column(tmp_path: Path, as_struct: bool) -> None:
    contents = [png(k) for k in range(8)]
    images = [{"bytes": c, "path": None} for c in contents] if as_struct else contents
    source = write_parquet(tmp_path / "c.parquet", images, label=list("abababab"))
    table = read_table(source)
    assert [read_bytes(image) for image in table.images] == contents
    assert table.image(4) == f"parquet://{source}#image:5"
    assert table.keys()[4].as_py() == "c.parquet#image:5"
    assert table.labels().tolist() == [0, 1] * 4
    assert table.notes == ("Columns used: image as image, label as label.",)


def test_each_row_group_is_read_once_however_many_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_parquet(tmp_path / "c.parquet", [png(k) for k in range(12)], label=[0, 1] * 6)
    groups: list[int] = []
    plain = pq.ParquetFile.read_row_group

    def noted(self: Any, group: int, **options: Any) -> pa.Table:
        groups.append(group)
        return plain(self, group, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", noted)
    audit = audit_images(read_table(source), side=8, threads=4)
    assert audit.n == 12
    assert sorted(groups) == [0, 1, 2, 3]


def test_old_row_groups_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "KEPT_BYTES", 2_000)
    contents = [bytes([k]) * 500 for k in range(12)]
    table = read_table(write_parquet(tmp_path / "c.parquet", contents, label=[0, 1] * 6))
    assert [read_bytes(image) for image in table.images] == contents
    assert 1 <= len(cells._groups) <= 2
    assert read_bytes(table.image(0)) == contents[0]


def test_a_damaged_cell_is_reported_with_its_row(tmp_path: Path) -> None:
    images = [png(0), png(1)[:60], None, png(3)]
    source = write_parquet(tmp_path / "c.parquet", images, label=["a", "b", "b", "b"])
    table = read_table(source)
    assert table.set_aside == (
        SetAside(image=f"parquet://{source}#image:3", label="b", reason="its row holds no image"),
    )
    audit = audit_images(table, side=8, threads=2, max_unreadable=0.5)
    (bad,) = audit.unreadable
    assert bad.image == f"parquet://{source}#image:2"
    assert bad.reason.startswith("truncated PNG")


def test_a_struct_that_only_names_its_file_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png(1))
    images = [{"bytes": png(0), "path": "0.png"}, {"bytes": None, "path": "x.png"}]
    table = read_table(write_parquet(tmp_path / "c.parquet", images, label=["a", "b"]))
    assert table.image(1) == f"{tmp_path}/x.png"
    assert read_bytes(table.image(1)) == png(1)


def test_columns_are_known_by_what_they_hold(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    features = {"label": {"_type": "ClassLabel", "names": ["zebra", "ant"]}}
    columns = {"img": [png(k) for k in range(3)], "path": ["x", "y", "z"], "label": [0, 1, -1]}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    table = read_table(path, image_column="img")
    assert table.classes == ("ant", "zebra")
    assert table.labels().tolist() == [1, 0]
    assert [row.reason for row in table.set_aside] == ["no label"]
    # `path` is the only usual name, and what it names is not there.
    assert "none of its 3 images was found" in refusal(path)
    pq.write_table(pa.table(columns).drop_columns(["path"]), path)
    assert read_table(path).image(0) == f"parquet://{path}#img:1"


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "c.parquet", [png(0), png(1)], label=["a", "b"])
    assert refusal(source, image_root="x") == (
        "c.parquet holds the images themselves. Leave --image-root out."
    )
    source.write_bytes(source.read_bytes()[:-20])
    assert refusal(source).startswith("c.parquet is not a readable Parquet file: ")


def test_numbered_parquet_files_of_a_folder_are_one_set(tmp_path: Path) -> None:
    for split, number in (("train", 0), ("train", 1), ("test", 0)):
        of = 2 if split == "train" else 1
        write_parquet(
            tmp_path / f"data/{split}-0000{number}-of-0000{of}.parquet",
            [png(k + 4 * number) for k in range(4)],
            label=["a", "b", "a", "b"],
        )
    table = read_table(tmp_path)
    assert table.splits().tolist() == ["test"] * 4 + ["train"] * 8
    assert table.notes[0] == "Read from 3 files."
    assert table.keys()[4].as_py() == "train-00000-of-00002.parquet#image:1"
    pattern = f"{tmp_path}/data/train-0000{{0..1}}-of-00002.parquet"
    assert len(read_table(pattern)) == 8
    assert refusal(pattern.replace("..1", "..3")).startswith(
        f"Of 4 files that {pattern.replace('..1', '..3')} stands for 2 are not there (first: "
    )


def test_entries_are_remembered_until_their_file_changes(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "c.parquet", [png(k) for k in range(4)], label=[0, 1, 0, 1])

    def remembered() -> int:
        cache = AuditCache(tmp_path / "cache", source=str(source), side=8)
        audit_images(read_table(source), side=8, threads=2, cache=cache)
        return cache.remembered

    assert remembered() == 0
    assert remembered() == 4
    write_parquet(source, [png(k) for k in range(5)], label=[0, 1, 0, 1, 0])
    assert remembered() == 0
    store, why_not = open_shared(
        read_table(source), side=8, threads=1, folder=tmp_path / "stores", limit_bytes=10**8
    )
    assert (store is not None, why_not) == (True, "")
    assert store is not None
    assert store.gather([0, 4]).shape == (2, 8, 8, 3)
    assert store.stored().tolist() == [True, False, False, False, True]
    store.close()


def test_a_cell_that_is_not_there(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "c.parquet", [png(0)], label=["a"])
    for entry in ("image:2", "image:0", "image:x", "picture:1", "image"):
        with pytest.raises(UnreadableImage, match="has no such cell"):
            read_bytes(f"parquet://{source}#{entry}")
    with pytest.raises(UnreadableImage, match=r"gone\.parquet cannot be read: No such file"):
        read_bytes(f"parquet://{tmp_path}/gone.parquet#image:1")


def test_images_of_a_parquet_file_to_predict(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "c.parquet", [png(0), png(1)], other=[1, 2])
    assert read_images([str(source)]).keys().to_pylist() == [
        "c.parquet#image:1",
        "c.parquet#image:2",
    ]


# Hugging Face


@pytest.fixture
def hugging_face() -> Any:
    return pytest.importorskip("datasets")


def data_set(datasets: Any, n: int = 6) -> Any:
    return datasets.Dataset.from_dict(
        {
            "image": [{"bytes": png(k), "path": f"{k}.png"} for k in range(n)],
            "label": [k % 2 for k in range(n)],
            "patient": [f"p{k // 2}" for k in range(n)],
        },
        features=datasets.Features(
            {
                "image": datasets.Image(),
                "label": datasets.ClassLabel(names=["zebra", "ant"]),
                "patient": datasets.Value("string"),
            }
        ),
    )


def test_a_folder_of_save_to_disk(hugging_face: Any, tmp_path: Path) -> None:
    rows = data_set(hugging_face)
    splits = hugging_face.DatasetDict(train=rows, validation=rows.select([1, 4]))
    splits.save_to_disk(tmp_path / "set", num_shards={"train": 2, "validation": 1})
    table = read_table(tmp_path / "set")
    assert table.classes == ("ant", "zebra")
    assert table.splits().tolist() == ["train"] * 6 + ["val"] * 2
    assert table.groups().tolist() == ["p0", "p0", "p1", "p1", "p2", "p2", "p0", "p2"]
    assert [read_bytes(image) for image in table.images] == [png(k) for k in (*range(6), 1, 4)]
    assert table.keys()[3].as_py() == "train/data-00001-of-00002.arrow#image:1"
    assert audit_images(table, side=8, threads=2).n == 8
    assert len(read_images([str(tmp_path / "set")])) == 8
    (tmp_path / "set/train/data-00001-of-00002.arrow").unlink()
    assert refusal(tmp_path / "set").startswith(
        f"{tmp_path}/set/train/ lacks 'data-00001-of-00002.arrow'."
    )


def test_a_data_set_without_splits(hugging_face: Any, tmp_path: Path) -> None:
    data_set(hugging_face).save_to_disk(tmp_path / "set")
    table = read_table(tmp_path / "set", group_column="patient")
    assert table.splits().tolist() == [""] * 6
    file = tmp_path / "set/data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[:300])
    assert "data-00000-of-00001.arrow is not a readable Arrow file" in refusal(tmp_path / "set")


def test_the_path_that_the_hub_takes_on_a_clone_of_it(
    hugging_face: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone's folder goes through `load_dataset` and its cache of Arrow files as a name does."""
    monkeypatch.setattr(hugging_face.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "clone/data").mkdir(parents=True)
    for split in ("train", "test"):
        data_set(hugging_face).to_parquet(tmp_path / f"clone/data/{split}-00000-of-00001.parquet")
    shards, notes = cached_shards(str(tmp_path / "clone"), revision=None, part=None)
    assert notes == ()
    assert [shard.split for shard in shards] == ["train", "test"]
    monkeypatch.setattr(
        "everyclass.images.readers_hub.cached_shards", lambda name, **_: (shards, ())
    )
    table = read_table("hf://owner/name")
    assert table.classes == ("ant", "zebra")
    assert [read_bytes(image) for image in table.images] == [png(k) for k in range(6)] * 2


def test_a_hub_that_does_not_answer(hugging_face: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hugging_face.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = refusal("hf://owner/no-such-set")
    assert message.startswith("hf://owner/no-such-set cannot be read from the Hugging Face hub: ")
    assert message.endswith("Without a network: save_to_disk it elsewhere and name that folder.")


def test_the_hub_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert refusal("hf://owner/name") == (
        "hf://owner/name needs the package 'datasets'. pip install 'everyclass[datasets]'."
    )
