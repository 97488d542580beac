"""One training on two processes: as on one, killed and started again, stopped, failing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from repair_zoo import always, repairs_of, told

from everyclass.run_folder import RunFolder
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.launched import Launch
from everyclass.workflows.train import TrainOptions, resume, train
from everyclass.workflows.train_together import _goes_on
from image_folders import write_image_folder
from same_training import SETTINGS, assert_same_training, last_step
from several_processes import PATIENCE_SECONDS, command, run_several, slurm


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 45 images 29 are for training: the last batch of an epoch has one image less than it
    could have, and five are no multiple of two."""
    folder = tmp_path_factory.mktemp("few")
    return write_image_folder(folder, {"ash": 24, "birch": 12, "cedar": 9})


@pytest.fixture(scope="module")
def alone(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    source = DataSource(source=str(images))
    train(source, out, TrainOptions(wishes=SETTINGS), on_event=lambda _: None)
    return out


def words(images: Path, out: Path, *more: str, settings: dict[str, object] = SETTINGS) -> list[str]:
    given = [
        word
        for name, value in settings.items()
        for one in (value if isinstance(value, list) else [value])
        for word in ("--set", f"{name}={one}")
        if name not in ("augmentation", "imbalance")
    ]
    lists = [
        word
        for name in ("augmentation", "imbalance")
        for one in settings.get(name, [])  # type: ignore[attr-defined]
        for word in (f"--{name}", one)
    ]
    kept = ["--checkpoint-seconds", "0", "--no-cache", "--quiet"]
    return ["train", str(images), "--out", str(out), *given, *lists, *kept, *more]


# -- the same training -----------------------------------------------------------------------------


def test_two_tasks_of_srun_train_as_one_process(images: Path, alone: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    ended = run_several(command, [words(images, out)] * 2, slurm(2), tmp_path)
    assert [one.code for one in ended] == [0, 0], [one.err for one in ended]
    assert_same_training(out, alone)
    assert [one.err for one in ended] == ["", ""]  # one process shows, and it was asked not to
    checks = [json.loads((one / "checks.json").read_text()) for one in (out, alone)]
    outcomes = [[(a["name"], a["outcome"]) for a in one["results"]] for one in checks]
    assert outcomes[0] == outcomes[1]
    watched = [json.loads((one / "findings.json").read_text()) for one in (out, alone)]
    assert watched[0]["step"] == watched[1]["step"]
    assert watched[0]["verdict"] == watched[1]["verdict"]


def _stays_bad(*arguments: str) -> None:
    """A training whose loss is no number; its diagnosis, on the first process, is a given one."""
    import everyclass.workflows.repair as repair

    repair.diagnose_case = always(told("adam"))
    command(*arguments)


def test_all_processes_follow_a_repair(images: Path, tmp_path: Path) -> None:
    out, wild = tmp_path / "run", {**SETTINGS, "normalisation": "raw", "epochs": 2}
    wild |= {"learning_rate": 100.0, "warmup_fraction": 0.0}
    arguments = words(images, out, settings=wild)
    ended = run_several(_stays_bad, [arguments] * 2, slurm(2), tmp_path)
    assert [one.code for one in ended] == [0, 0], [one.err for one in ended]
    [repair] = repairs_of(out)
    assert (repair["verdict"], repair["outcome"]) == ("diverged", "repaired")
    assert (out / "model.safetensors").exists()


# -- killed and started again ----------------------------------------------------------------------


@contextmanager
def torchrun(arguments: list[str], folder: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """`torchrun --nproc-per-node 2 -m everyclass ...`, ended at the end whatever happens."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc-per-node", "2", "--monitor-interval", "0.1", *more]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*launcher, "-m", "everyclass", *arguments], stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(60)
                process.kill()


def workers(launcher: int) -> dict[int, int]:
    """Process ids of the workers of a torchrun by their rank."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    found = {}
    for child in children:
        with suppress(OSError):
            pairs = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            ranks = [int(pair[5:]) for pair in pairs if pair.startswith(b"RANK=")]
            found.update({rank: int(child) for rank in ranks})
    return found


def wait_until(holds: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert process.poll() is None, (log / "log").read_text()[-3000:]
        assert time.monotonic() < limit, (log / "log").read_text()[-3000:]
        time.sleep(0.005)


needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")


@needs_proc
def test_killed_processes_go_on_where_they_were(images: Path, alone: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with torchrun(words(images, out), tmp_path, "--max-restarts", "2") as process:
        wait_until(lambda: last_step(out) >= 3, process, tmp_path)
        before = workers(process.pid)
        os.kill(before[1], signal.SIGKILL)
        wait_until(
            lambda: not set(before.values()) & set(workers(process.pid).values()), process, tmp_path
        )
        killed_at = last_step(out)
        wait_until(lambda: last_step(out) > killed_at, process, tmp_path)
        os.kill(workers(process.pid)[0], signal.SIGKILL)  # the one that decides and writes
        assert process.wait(PATIENCE_SECONDS) == 0, (tmp_path / "log").read_text()[-3000:]
    assert 3 <= killed_at < 30
    assert_same_training(out, alone)


@needs_proc
def test_stopped_two_processes_are_gone_on_with_by_one(
    images: Path, alone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with torchrun(words(images, out), tmp_path) as process:
        wait_until(lambda: last_step(out) >= 3, process, tmp_path)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) != 0
    log = (tmp_path / "log").read_text()
    stopped = last_step(out)
    assert f"Stopped at step {stopped}. Everything is saved" in log
    assert "Another of the" not in log
    source = DataSource(source=str(images))
    resume(source, out, TrainOptions(), on_event=lambda _: None)
    assert_same_training(out, alone)


# -- failing ---------------------------------------------------------------------------------------


def test_bad_input_is_said_once_and_ends_all(images: Path, tmp_path: Path) -> None:
    arguments = words(images, tmp_path / "run", settings={**SETTINGS, "model": "resnet_nowhere"})
    ended = run_several(command, [arguments] * 2, slurm(2), tmp_path)
    assert [one.code for one in ended] == [2, 2]
    assert "resnet_nowhere" in ended[0].err
    assert ended[1].err == ""
    assert not (tmp_path / "run").exists()


def test_what_one_process_cannot_read_ends_all(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = [words(images, out), words(tmp_path / "nowhere", out)]
    ended = run_several(command, arguments, slurm(2), tmp_path)
    assert [one.code for one in ended] == [1, 2]
    assert "nowhere" in ended[1].err
    assert "Another of the 2 processes ended" in ended[0].err
    assert "Traceback" not in ended[0].err + ended[1].err


# -- whose run it is that lies there ---------------------------------------------------------------


def _left(folder: Path, launch: str | None) -> Path:
    run = RunFolder.create(folder / "run")
    run.write_json(run.environment, {"launch": launch})
    run.write_text(run.recipe, "")
    return run.publish().path


@pytest.mark.parametrize(
    ("launch", "left_by", "overwrite", "goes_on"),
    [
        (Launch(), None, False, False),
        (Launch(restarted=True), None, False, True),  # SLURM put the job back in the queue
        (Launch(launcher="torchrun", name="a"), "a", False, True),  # a machine came or went
        (Launch(launcher="torchrun", name="a"), "b", False, False),
        (Launch(launcher="torchrun", name="a"), "a", True, False),
        (Launch(launcher="torchrun", name="a", restarted=True), "a", True, True),
        (Launch(launcher="torchrun", name="a", restarted=True), "b", True, False),
        (Launch(launcher="torchrun", restarted=True), None, True, True),
    ],
)
def test_only_the_run_of_this_launch_is_gone_on_with(
    launch: Launch, left_by: str | None, overwrite: bool, goes_on: bool, tmp_path: Path
) -> None:
    out = _left(tmp_path, left_by)
    assert _goes_on(out, TrainOptions(overwrite=overwrite), launch) is goes_on


def test_a_run_that_was_to_be_replaced_is_not_gone_on_with(tmp_path: Path) -> None:
    out = _left(tmp_path, None)
    RunFolder.create(out, overwrite=True)  # and then it failed
    again = Launch(launcher="torchrun", restarted=True)
    assert not _goes_on(out, TrainOptions(overwrite=True), again)
    assert not _goes_on(tmp_path / "none", TrainOptions(), again)
