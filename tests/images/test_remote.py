"""Images behind s3://, against a local S3 server, and what a store says of its objects."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from everyclass.errors import InputError
from everyclass.images import examine as examine_module
from everyclass.images.audit import audit_images
from everyclass.images.audit_cache import AuditCache
from everyclass.images.contents import _stamp_of_entry, read_bytes
from everyclass.images.damage import UnreadableImage
from everyclass.images.readers import read_table
from image_folders import write_image_folder

s3fs = pytest.importorskip("s3fs")
moto = pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The file system of an empty bucket `cells`; what reads s3:// goes to the same server."""
    for name, value in (
        ("AWS_ENDPOINT_URL", server),
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    filesystem = s3fs.S3FileSystem()
    filesystem.mkdir("cells")
    yield filesystem
    filesystem.rm("cells", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def local(tmp_path: Path) -> Path:
    return write_image_folder(tmp_path / "local", {"ash": 5, "birch": 3})


def test_a_folder_of_class_folders(bucket: Any, local: Path, tmp_path: Path) -> None:
    bucket.put(str(local), "cells/set", recursive=True)
    table, here = read_table("s3://cells/set"), read_table(local)
    assert table.classes == ("ash", "birch")
    assert table.keys().to_pylist() == here.keys().to_pylist()
    assert table.image(0) == "s3://cells/set/ash/ash_000.png"
    there = audit_images(table, side=16, threads=4)
    assert there.n == 8
    here_seen = audit_images(here, side=16, threads=1)
    assert (there.mean, there.std) == (here_seen.mean, here_seen.std)


def test_only_objects_with_another_etag_are_read_again(
    bucket: Any, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put(str(local), "cells/set", recursive=True)
    read: list[str] = []
    plain = examine_module.read_bytes
    monkeypatch.setattr(
        examine_module, "read_bytes", lambda image: (read.append(image), plain(image))[1]
    )

    def audited() -> int:
        read.clear()
        table = read_table("s3://cells/set")
        cache = AuditCache(tmp_path / "cache", source="s3://cells/set", side=16)
        audit_images(table, side=16, threads=2, cache=cache)
        return cache.remembered

    assert audited() == 0
    assert audited() == 8
    assert read == []
    bucket.pipe("cells/set/ash/ash_001.png", (local / "ash/ash_002.png").read_bytes())
    assert audited() == 7
    assert read == ["s3://cells/set/ash/ash_001.png"]


def test_manifests_shards_and_parquet(bucket: Any, local: Path) -> None:
    files = sorted(local.rglob("*.png"))
    contents = [path.read_bytes() for path in files]
    labels = [path.parent.name for path in files]
    bucket.put(str(local), "cells/set", recursive=True)
    rows = "".join(f"{path.parent.name}/{path.name},{path.parent.name}\n" for path in files)
    bucket.pipe("cells/set/all.csv", f"image,label\n{rows}ash/gone.png,ash\n".encode())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in files:
            archive.add(path, f"{path.parent.name}/{path.name}")
    bucket.pipe("cells/shards/train-000.tar", buffer.getvalue())
    buffer = io.BytesIO()
    pq.write_table(pa.table({"image": contents, "label": labels}), buffer, row_group_size=3)
    bucket.pipe("cells/rows/all.parquet", buffer.getvalue())
    for source in (
        "s3://cells/set/all.csv",
        "s3://cells/shards",
        "s3://cells/shards/train-{000..000}.tar",
        "s3://cells/rows/all.parquet",
    ):
        table = read_table(source)
        assert table.classes == ("ash", "birch"), source
        assert [read_bytes(image) for image in table.images] == contents, source
        cache = AuditCache(local / "cache", source=source, side=16)
        audit_images(table, side=16, threads=3, cache=cache, max_unreadable=0.2)
        assert len(cache.look_up(table.images)) == 8, source
    assert [row.image for row in read_table("s3://cells/set/all.csv").set_aside] == [
        "s3://cells/set/ash/gone.png"
    ]


def test_what_is_not_there_and_who_may_not_ask(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="s3://cells/none does not exist"):
        read_table("s3://cells/none")
    with pytest.raises(UnreadableImage, match="no such file"):
        read_bytes("s3://cells/none.png")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(UnreadableImage, match=r"cannot be read: .*credentials"):
        read_bytes("s3://cells/none.png")


def test_a_store_that_no_package_speaks_to(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def missing(uri: str) -> None:
        raise ImportError("Please install gcsfs to access Google Storage")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(InputError) as caught:
        read_table("gs://bucket/set")
    assert str(caught.value) == (
        "gs://bucket/set cannot be opened: Please install gcsfs to access Google Storage. "
        "pip install 'everyclass[cloud]' reads s3:// and gs://."
    )


def test_what_stores_say_of_their_objects() -> None:
    """As s3fs, gcsfs and others list an object; where nothing tells of a change, it is read."""
    first = _stamp_of_entry({"size": 7, "ETag": '"a"', "LastModified": datetime.now(UTC)})
    assert first.size == 7
    assert first.changed < 0
    assert _stamp_of_entry({"size": 7, "ETag": '"b"'}) != first
    assert _stamp_of_entry({"size": 7, "generation": "1"}).changed < 0
    when = datetime(2024, 1, 1, tzinfo=UTC)
    assert _stamp_of_entry({"size": 7, "LastModified": when}).changed == 1704067200 * 10**9
    assert _stamp_of_entry({"size": 7}).size == -1
    assert _stamp_of_entry({"size": None, "ETag": "a"}).size == -1
