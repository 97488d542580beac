"""Every reader, fed with anything: a table or an InputError, never another exception.

The files are damaged copies of good ones (cut, bytes replaced, pieces repeated) and bytes out of
nothing. What reads them must also read every image that the table names, or say why not.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from everyclass.errors import InputError
from everyclass.images.contents import read_bytes
from everyclass.images.damage import UnreadableImage
from everyclass.images.pixels import decode_resized
from everyclass.images.readers import read_images, read_table
from everyclass.images.table import ImageTable


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), value, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def text(separator: str) -> bytes:
    rows = [("image", "label", "group", "split"), ("1.png", "a", "x", "train")]
    rows += [("2.png", "b", "", "val"), ("3.png", "a", "y", "train"), ("4.png", "b", "z", "")]
    return "\n".join(separator.join(row) for row in rows).encode()


def rows(embedded: bool) -> pa.Table:
    images = [{"bytes": png(k), "path": f"{k}.png"} for k in range(1, 5)]
    paths = [f"{k}.png" for k in range(1, 5)]
    features = {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}
    table = pa.table({"image": images if embedded else paths, "label": [0, 1, 0, 1]})
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    return table.replace_schema_metadata(metadata)


def parquet(embedded: bool) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(rows(embedded), buffer, row_group_size=2)
    return buffer.getvalue()


def arrow() -> bytes:
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, rows(True).schema) as writer:
        writer.write_table(rows(True))
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for k in range(1, 5):
            facts = json.dumps({"label": "ab"[k % 2], "group": k}).encode()
            for name, content in ((f"s/{k}.png", png(k)), (f"s/{k}.json", facts)):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


SOURCES: dict[str, bytes] = {
    "rows.csv": text(","),
    "semicolons.csv": text(";"),
    "rows.tsv": text("\t"),
    "paths.parquet": parquet(False),
    "images.parquet": parquet(True),
    "samples.tar": tar(),
    "saved/data-00000-of-00001.arrow": arrow(),
    "saved/state.json": b'{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}',
    "splits/dataset_dict.json": b'{"splits": ["train", "test"]}',
    "classes/a/1.png": png(1),
}


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A copy with a few faults, or other bytes altogether."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        match draw(st.sampled_from(["cut", "replace", "insert", "repeat"])):
            case "cut":
                length = draw(st.integers(1, 40)) if draw(st.booleans()) else len(content)
                del content[at : at + length]
            case "replace":
                piece = draw(st.binary(min_size=1, max_size=8))
                content[at : at + len(piece)] = piece
            case "insert":
                content[at:at] = draw(st.binary(min_size=1, max_size=8))
            case _:
                content[at:at] = content[max(0, at - 30) : at]
    return bytes(content)


def write_all(root: Path) -> None:
    for name, content in SOURCES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    for split in ("train", "test"):
        (root / "splits" / split).mkdir()
        for name in ("state.json", "data-00000-of-00001.arrow"):
            (root / "splits" / split / name).write_bytes(SOURCES[f"saved/{name}"])
    (root / "saved/dataset_info.json").write_text("{}")
    (root / "classes/b").mkdir()
    (root / "classes/b/2.png").write_bytes(png(2))
    for k in range(1, 5):
        (root / f"{k}.png").write_bytes(png(k))


def reads_or_refuses(read: Callable[[], ImageTable]) -> int:
    """How many images could be decoded; 0 where the data were refused. Nothing else may happen."""
    decoded = 0
    with suppress(InputError):
        for image in read().images:
            with suppress(UnreadableImage):
                decoded += decode_resized(read_bytes(image), side=8).rgb.shape == (8, 8, 3)
    return decoded


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_not_damaged_is_read(name: str, tmp_path: Path) -> None:
    write_all(tmp_path)
    assert reads_or_refuses(lambda: read_table(tmp_path / name.partition("/")[0])) > 0


@pytest.mark.parametrize("name", SOURCES)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_bytes_are_a_table_or_a_refusal(name: str, data: st.DataObject, tmp_path: Path) -> None:
    if not (tmp_path / "rows.csv").exists():
        write_all(tmp_path)
    (tmp_path / name).write_bytes(data.draw(damaged(SOURCES[name])))
    folder = name.partition("/")[0]
    reads_or_refuses(lambda: read_table(tmp_path / folder))
    reads_or_refuses(lambda: read_table(tmp_path / folder, require_labels=False))
    reads_or_refuses(lambda: read_images([str(tmp_path / folder)]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    source=st.one_of(
        st.text(max_size=40),
        st.from_regex(r"(tar|parquet|arrow|slide|s4|file|memory)://[a-z/.#{},0-9]{0,20}"),
        st.from_regex(r"[a-z]{0,3}\{[0-9.,]{0,9}\}(\.tar|\.parquet|\.tgz)", fullmatch=True),
    )
)
def test_any_name_is_a_table_or_a_refusal(source: str) -> None:
    reads_or_refuses(lambda: read_table(source))
    reads_or_refuses(lambda: read_images([source]))
    with suppress(InputError, UnreadableImage):
        read_bytes(source)


NAMES = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="/\0"), min_size=1, max_size=12
).filter(lambda name: name not in (".", ".."))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(names=st.lists(st.lists(NAMES, min_size=1, max_size=3), max_size=6), number=st.integers(0))
def test_folders_of_any_names(
    names: list[list[str]], number: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("names")
    for parts in names:
        try:
            (root.joinpath(*parts[:-1])).mkdir(parents=True, exist_ok=True)
            root.joinpath(*parts).with_name(parts[-1] + ".png").write_bytes(png(number % 256))
        except (OSError, ValueError):
            continue  # a name that is a file already, or too long
    reads_or_refuses(lambda: read_table(root))
    reads_or_refuses(lambda: read_images([str(root)]))
