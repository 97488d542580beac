"""The audit of a folder: read, split as a training would, looked at; without torch."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from everyclass.errors import InputError
from everyclass.workflows.audit import audit_data
from everyclass.workflows.data_source import DataSource


def source_of(folder):
    return DataSource(source=str(folder))


def test_a_folder_is_split_and_audited(image_folder):
    seen = []
    result = audit_data(
        source_of(image_folder),
        on_progress=lambda done, total: seen.append((done, total)),
    )
    audit = result.audit
    assert audit.class_counts == (90, 40, 18)
    assert [part.split for part in audit.splits] == ["train", "val", "test"]
    assert audit.n == len(result.table) == 148
    assert audit.side == 32  # the smallest training size, for images of 24 px
    assert seen[-1] == (148, 148)
    assert result.sentences == ()


def test_what_is_unreadable_leaves_the_table(image_folder, tmp_path):
    folder = shutil.copytree(image_folder, tmp_path / "set")
    for name in ("ash_000.png", "ash_001.png"):
        (folder / "ash" / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"2 of 148 images \(1\.4%\) cannot be read"):
        audit_data(source_of(folder))
    result = audit_data(DataSource(source=str(folder), max_unreadable=0.05), side=16, threads=1)
    assert len(result.table) == 146
    assert [found.reason for found in result.table.set_aside] == [
        "not an image: an empty file (0 bytes)"
    ] * 2


def test_the_same_seed_gives_the_same_audit(image_folder):
    same = [audit_data(source_of(image_folder), side=16, seed=1, threads=n).audit for n in (1, 3)]
    assert same[0] == same[1]
    assert audit_data(source_of(image_folder), side=16, seed=2).audit.splits != same[0].splits


def test_no_torch_is_imported(image_folder):
    code = (
        "import sys; from everyclass.workflows.audit import audit_data;"
        "from everyclass.workflows.data_source import DataSource;"
        "from everyclass.terminal.audit import audit_view;"
        f"audit_view(audit_data(DataSource(source={str(image_folder)!r})).audit);"
        "assert not {'torch', 'torchvision', 'timm'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
