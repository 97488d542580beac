"""Tar archives: WebDataset's samples, class folders, patterns, damage."""

from __future__ import annotations

import io
import json
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from everyclass.errors import InputError
from everyclass.images import tar_members
from everyclass.images.audit import audit_images
from everyclass.images.audit_cache import AuditCache
from everyclass.images.contents import read_bytes
from everyclass.images.damage import UnreadableImage
from everyclass.images.readers import read_images, read_table
from everyclass.images.table import SetAside


def jpg(value: int) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(value).integers(0, 60, size=(16, 16, 3))
    Image.fromarray((noise + 3 * value).astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def write_tar(
    path: Path, files: list[tuple[str, bytes | str]], changed: int = 1_700_000_000, **options: Any
) -> Path:
    """An archive, as if it had been written long ago: what has just changed is not remembered."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as archive:
        for name, content in files:
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    os.utime(path, (changed, changed))
    return path


def samples(numbers: range) -> list[tuple[str, bytes | str]]:
    return [
        file for k in numbers for file in ((f"{k:04d}.jpg", jpg(k)), (f"{k:04d}.cls", f"{k % 2}\n"))
    ]


def refusal(source: Path | str, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_table(source, **options)
    return str(caught.value)


def test_samples_with_classes(tmp_path: Path) -> None:
    source = write_tar(tmp_path / "0.tar", samples(range(6)))
    table = read_table(source)
    assert table.classes == ("0", "1")
    assert table.labels().tolist() == [0, 1] * 3
    assert table.image(2) == f"tar://{source}#0002.jpg"
    assert table.keys()[2].as_py() == "0.tar#0002.jpg"
    assert [read_bytes(image) for image in table.images] == [jpg(k) for k in range(6)]
    assert table.notes == ("Columns used: jpg as image, cls as label.",)


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_and_odd_names_of_every_kind_of_tar(tmp_path: Path, kind: int) -> None:
    names = ["a/" + "x" * 90 + "/1#2%23.jpg", "b/10.30 at é.jpg"]
    if kind != tarfile.USTAR_FORMAT:
        names.append("b/" + "long" * 60 + ".jpg")
    files = [(name, jpg(k)) for k, name in enumerate(names)]
    table = read_table(write_tar(tmp_path / "n.tar", files, format=kind), require_labels=False)
    assert [read_bytes(image) for image in table.images] == [jpg(k) for k in range(len(names))]


def test_facts_in_json(tmp_path: Path) -> None:
    files: list[tuple[str, bytes | str]] = []
    for k in range(4):
        facts = {"label": "ab"[k % 2], "patient": k // 2, "stage": k, "split": "train"}
        files += [(f"{k}.png", jpg(k)), (f"{k}.json", json.dumps(facts)), (f"{k}.txt", "words")]
    source = write_tar(tmp_path / "0.tar", files)
    table = read_table(source)
    assert table.classes == ("a", "b")
    assert table.groups().tolist() == ["0", "0", "1", "1"]
    assert table.splits().tolist() == ["train"] * 4
    assert read_table(source, label_column="stage").classes == ("0", "1", "2", "3")
    assert "has 'txt2': neither as the ending" in refusal(source, label_column="txt2")
    assert refusal(source, label_column="txt").startswith(f"{source} has one class only, 'words'")
    files[1] = ("0.json", "{")
    assert "0.json in 0.tar is no JSON" in refusal(write_tar(source, files))


def test_an_archive_of_class_folders(tmp_path: Path) -> None:
    names = ["set/train/cat/1.10.jpg", "set/train/dog/1.jpg", "set/test/dog/2.jpg", "set/._x.jpg"]
    source = write_tar(tmp_path / "set.tar", [(name, jpg(k)) for k, name in enumerate(names)])
    table = read_table(source)
    assert table.classes == ("cat", "dog")
    assert table.splits().tolist() == ["train", "train", "test"]
    assert table.notes[-1] == ("Columns used: jpg as image, folder as label, folder as split.")


def test_patterns_and_folders_of_shards(tmp_path: Path) -> None:
    for k, name in enumerate(("train-000", "train-001", "val-000")):
        write_tar(tmp_path / f"{name}.tar", samples(range(4 * k, 4 * k + 4)))
    table = read_table(tmp_path)
    assert table.splits().tolist() == ["train"] * 8 + ["val"] * 4
    assert table.notes[0] == "Read from 3 archives."
    assert len(read_table(f"{tmp_path}/train-{{000..001}}.tar")) == 8
    assert len(read_table(f"{tmp_path}/{{train,val}}-000.tar")) == 8
    pattern = f"{tmp_path}/train-{{000..009}}.tar"
    assert refusal(pattern) == (
        f"Of 10 files that {pattern} stands for 8 are not there (first: {tmp_path}/train-002.tar)."
        " Correct the numbers in the braces, or bring these files."
    )
    assert "more than 100,000 files" in refusal("x-{0..9999999}.tar")
    assert len(read_images([str(tmp_path)])) == 12
    assert len(read_images([f"{tmp_path}/val-000.tar"])) == 4


def test_what_is_wrong_with_an_archive_is_said(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "w.tar", samples(range(4))).read_bytes()
    source = tmp_path / "x.tar"
    with tarfile.open(tmp_path / "w.tar") as archive:
        members = archive.getmembers()
    second, end = members[1].offset, members[-1].offset_data + 512
    for content, expected in (
        (b"", "x.tar is no readable tar archive: empty file."),
        (b"no tar" * 200, "x.tar is no readable tar archive: "),
        (b"\x1f\x8b" + whole, "x.tar is a compressed archive"),
        (whole[:700], "x.tar is no readable tar archive: unexpected end of data."),
        (whole[:end], "x.tar is truncated after 0003.cls: no end mark follows."),
        (
            whole[:second] + b"\7" * 512 + whole[second + 512 :],
            f"x.tar is damaged at byte {second:,} after 0000.jpg.",
        ),
    ):
        source.write_bytes(content)
        assert refusal(source).startswith(expected)
    gz = tmp_path / "x.tar.gz"
    gz.touch()
    assert refusal(gz).startswith("x.tar.gz is a compressed archive")


def test_damage_and_doubles_are_reported_with_their_archive(tmp_path: Path) -> None:
    files = samples(range(6))
    files[4] = ("0002.jpg", jpg(2)[:100])
    files += [("0009.jpg", jpg(9)), ("0009.cls", "1"), ("0009.jpg", jpg(8)), ("0007.cls", "1")]
    source = write_tar(tmp_path / "0.tar", files)
    table = read_table(source)
    assert table.set_aside == (
        SetAside(
            image=f"tar://{source}#0009.jpg",
            label=None,
            reason="2 files of its archive have this name",
        ),
    )
    assert "Left out, without an image: 1 sample (first: 0007)." in table.notes
    audit = audit_images(table, side=8, threads=2, max_unreadable=0.5)
    assert [bad.image for bad in audit.unreadable] == [f"tar://{source}#0002.jpg"]


def test_several_images_a_sample_need_a_choice(tmp_path: Path) -> None:
    files = [(f"{k}.{kind}", jpg(k)) for k in range(4) for kind in ("left.png", "right.png")]
    files += [(f"{k}.cls", b"01"[k % 2 : k % 2 + 1]) for k in range(4)]
    source = write_tar(tmp_path / "0.tar", files)
    assert refusal(source) == (
        "Sample 0 of 0.tar has 2 images ('left.png', 'right.png'). Say which: --image-column "
        "left.png."
    )
    table = read_table(source, image_column="right.png")
    assert table.image(0) == f"tar://{source}#0.right.png"


def test_an_archive_that_changes_is_looked_through_again(tmp_path: Path) -> None:
    source = write_tar(tmp_path / "0.tar", samples(range(4)))
    table = read_table(source)
    cache = AuditCache(tmp_path / "cache", source=str(source), side=8)
    audit_images(table, side=8, threads=2, cache=cache)
    cache.look_up(table.images)
    assert cache.remembered == 4
    write_tar(source, [("more.txt", "x" * 3000), *samples(range(4))], changed=1_700_000_001)
    assert [read_bytes(image) for image in table.images] == [jpg(k) for k in range(4)]
    cache.look_up(table.images)
    assert cache.remembered == 0
    write_tar(source, samples(range(3)), changed=1_700_000_002)
    with pytest.raises(UnreadableImage, match=r"no such member of 0\.tar"):
        read_bytes(table.image(3))


def test_threads_read_many_archives_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar_members, "MOST_MEMBERS", 20)  # two archives: places come and go
    for k in range(6):
        write_tar(tmp_path / f"{k}.tar", samples(range(4 * k, 4 * k + 4)))
    table = read_table(tmp_path)
    rows = np.random.default_rng(0).permutation(len(table)).tolist() * 3
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: read_bytes(table.image(row)), rows))
    assert found == [jpg(row) for row in rows]


def test_addresses_may_be_named_and_listed(tmp_path: Path) -> None:
    """As a list of predictions or of suspicious labels gives them."""
    source = write_tar(tmp_path / "0.tar", samples(range(4)))
    table = read_table(source)
    assert read_images([table.image(2), table.image(1)]).images[0] == table.image(2)
    rows = "".join(f"{image},{'ab'[k % 2]}\n" for k, image in enumerate(table.images))
    (tmp_path / "again.csv").write_text(f"image,label\n{rows}")
    again = read_table(tmp_path / "again.csv")
    assert list(again.images) == list(table.images)
    assert again.classes == ("a", "b")
