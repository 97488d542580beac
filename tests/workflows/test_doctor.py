"""The doctor: each of its looks on what is well and what is not, and the whole without a trace."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from everyclass.cli import main
from everyclass.errors import InputError
from everyclass.workflows import doctor, doctor_machine, doctor_trial
from everyclass.workflows.cores import quota_cores
from everyclass.workflows.doctor_packages import extras_of, opencv_item, packages_of
from everyclass.workflows.doctor_values import Item, looked_at

ASKED = ["torch>=2.9,<2.16", "numpy>=2", 'mlflow-skinny>=3; extra == "mlflow"',
         'pytest; extra == "dev"', 'wandb>=0.20; extra == "wandb"',
         'colour>=9; sys_platform == "nowhere"']  # fmt: skip


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["doctor", *arguments])
    return int(stop.value.code or 0)


def test_what_is_not_well_says_what_to_do() -> None:
    with pytest.raises(InputError):
        Item(name="x", state="problem", fact="broken")
    with pytest.raises(InputError):
        Item(name="x", state="ok", fact="fine", remedy="Nothing.")


def test_a_look_that_fails_is_a_finding() -> None:
    def fails() -> Item:
        raise OSError("libcudart.so.13: cannot\n  open")

    found = looked_at("torch", fails, remedy="Reinstall torch.")
    assert found.state == "problem"
    assert found.fact == "It fails with OSError: libcudart.so.13: cannot open."
    assert found.remedy == "Reinstall torch."


def test_packages_out_of_range_or_missing_are_named() -> None:
    well = packages_of(ASKED, {"torch": "2.9.1+cpu", "numpy": "2.4.0"})
    assert (well.state, well.fact) == ("ok", "torch 2.9.1+cpu, numpy 2.4.0")
    old = packages_of(ASKED, {"torch": "2.8.0"})
    assert old.state == "problem"
    assert "torch 2.8.0 (needed: <2.16,>=2.9), numpy is missing (needed: >=2)" in old.fact
    assert set(old.figures) == {"torch", "numpy"}


def test_extras_are_told_with_the_line_that_installs_them() -> None:
    names = ["dev", "mlflow", "wandb"]
    found = extras_of(ASKED, names, {"mlflow-skinny": "3.1", "wandb": "0.1"})
    assert found.state == "ok"
    assert dict(found.figures) == {"mlflow": True, "wandb": False}
    assert "pip install 'everyclass[wandb]'" in found.fact
    whole = extras_of(ASKED, names, {"mlflow-skinny": "3.1", "wandb": "0.20"})
    assert whole.fact == "installed: mlflow, wandb"


def test_two_packages_of_opencv_are_told() -> None:
    assert opencv_item({"opencv-python-headless": "5.0"}).state == "ok"
    both = opencv_item({"opencv-python-headless": "5.0", "opencv-python": "4.9", "torch": "2"})
    assert both.state == "note"
    assert "opencv-python 4.9, opencv-python-headless 5.0" in both.fact


@pytest.mark.parametrize(
    ("files", "own", "cores"),
    [
        ({"cpu.max": "150000 100000"}, "0::/", 1.5),
        ({"cpu.max": "max 100000"}, "0::/", None),
        # Nested: 4 cores for the outer group, 2 for ours; the smaller counts.
        ({"a/cpu.max": "400000 100000", "a/b/cpu.max": "200000 100000"}, "0::/a/b", 2.0),
        ({"a/cpu.max": "100000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 1.0),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"},
         "3:cpuacct,cpu:/\n2:memory:/x", 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "3:cpu:/", None),
        ({"cpu.max": "nonsense"}, "0::/", None),
        ({}, "0::/", None),
    ],
)  # fmt: skip
def test_the_quota_of_a_control_group(
    files: dict[str, str], own: str, cores: float | None, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(text)
    (tmp_path / "own").write_text(own)
    assert quota_cores(tmp_path / "groups", tmp_path / "own") == cores


def test_a_cache_that_cannot_be_written_or_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(bytes(1000))
    monkeypatch.setenv("EVERYCLASS_CACHE", str(tmp_path))
    monkeypatch.setenv("EVERYCLASS_CACHE_GB", "0.001")
    found = doctor_machine.cache_item()
    assert (found.state, found.figures["bytes"], found.figures["files"]) == ("ok", 1000, 1)
    monkeypatch.setenv("EVERYCLASS_CACHE_GB", "1e9")
    assert doctor_machine.cache_item().state == "note"
    monkeypatch.setenv("EVERYCLASS_CACHE", str(tmp_path / "a" / "one" / "deeper"))
    assert "is a file" in doctor_machine.cache_item().fact
    monkeypatch.setenv("EVERYCLASS_CACHE_GB", "lots")
    found = looked_at("cache", doctor_machine.cache_item, remedy="?")
    assert (found.state, "'lots'" in found.fact) == ("problem", True)
    assert not (tmp_path / "a" / "one" / "deeper").exists()


def test_little_shared_memory_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two workers, two batches each of 64 x 3 x 224 x 224 floats: 154,140,672 bytes.
    monkeypatch.setattr(doctor_machine, "usable_cores", lambda: 2)
    found = doctor_machine.shared_memory_item(tmp_path / "none")
    assert found.state == "ok"
    usage = type("Usage", (), {"free": 64_000_000, "total": 67_108_864})
    monkeypatch.setattr(doctor_machine.shutil, "disk_usage", lambda _: usage)
    found = doctor_machine.shared_memory_item(tmp_path)
    assert (found.state, found.figures["needed_bytes"]) == ("note", 154_140_672)
    assert "--shm-size" in found.remedy


def test_a_device_that_computes_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor_machine._computes_wrongly("cpu") == ""
    right = doctor_machine._convolved
    calls: list[int] = []

    def every_second_is_off(*given: object) -> tuple[object, ...]:
        calls.append(1)
        return tuple(one * (1 if len(calls) % 2 else 1.5) for one in right(*given))  # type: ignore[arg-type]

    monkeypatch.setattr(doctor_machine, "_convolved", every_second_is_off)
    assert "off by 50.0%" in doctor_machine._computes_wrongly("cpu")


def test_a_decoder_that_is_off_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor_trial.decoder_item(tmp_path).state == "ok"
    from everyclass.images import pixels

    right = pixels.decode
    monkeypatch.setattr(
        pixels, "decode", lambda content: replace(right(content), rgb=right(content).rgb[::-1])
    )
    found = doctor_trial.decoder_item(tmp_path)
    assert found.state == "problem"
    assert "PNG off by" in found.fact


@pytest.fixture(scope="module")
def small_images(tmp_path_factory: pytest.TempPathFactory) -> doctor_trial.SmallImages:
    return doctor_trial.small_images(tmp_path_factory.mktemp("doctor"))


def test_the_collapse_is_found_and_the_healthy_training_is_not_accused(
    small_images: doctor_trial.SmallImages,
) -> None:
    dead = doctor_trial.watch_small(small_images, is_dead=True, seed=7)
    healthy = doctor_trial.watch_small(small_images, is_dead=False, seed=7)
    assert doctor_trial.judged_collapse(dead).state == "ok"
    assert doctor_trial.judged_healthy(healthy).state == "ok"
    # Each taken for the other is a problem: a watch that always, or never, accuses is told.
    assert doctor_trial.judged_collapse(healthy).state == "problem"
    assert doctor_trial.judged_healthy(dead).state == "problem"
    assert doctor_trial.judged_collapse(replace(dead, issues=())).state == "problem"
    json.dumps([dead.figures(), healthy.figures()])


def test_everything_quickly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("EVERYCLASS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert call("--quick", "--json", str(tmp_path / "found.json")) in (0, 1)
    told = capsys.readouterr()
    value = json.loads((tmp_path / "found.json").read_text())
    names = [one["name"] for one in value["items"]]
    assert names[:4] == ["everyclass", "Python", "packages", "OpenCV"]
    assert {"processor", "networks", "cache", "temporary", "decoder"} <= set(names)
    assert "healthy training" not in names
    working = {"processor", "networks", "temporary", "decoder"}
    assert {one["state"] for one in value["items"] if one["name"] in working} == {"ok"}
    assert all(name in told.out for name in names)
    assert told.err == ""
    # Nothing stays: no cache was made, the temporary folder is gone, this folder is empty.
    assert {one.name for one in tmp_path.iterdir()} == {"here", "found.json"}
    assert list((tmp_path / "here").iterdir()) == []


def test_a_problem_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def items(quick: bool) -> list[Item]:
        return [
            Item(name="good", state="ok", fact="fine"),
            Item(name="bad", state="problem", fact="[red]broken", remedy="Mend it."),
        ]

    monkeypatch.setattr(doctor, "_items", items)
    assert call() == 1
    told = capsys.readouterr().out
    assert "[red]broken" in told
    assert "→ Mend it." in told
    assert "1 problem and no notes among 2 items" in told
    assert call("--quiet") == 1
    assert capsys.readouterr() == ("", "")


def test_a_broken_torch_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('libgone.so: no such file')\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from everyclass.cli import main\nmain(['doctor'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "libgone.so" in done.stdout
    assert "decoder" in done.stdout
