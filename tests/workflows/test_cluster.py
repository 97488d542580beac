"""Audit, prediction and training on a Ray cluster: as on one machine, also when workers are killed.

The cluster has two processor cores of this machine. Processes are killed by `kill -9` while they
hold a piece of the work.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import everyclass.workflows.cluster as cluster_module
import everyclass.workflows.cluster_audit as cluster_audit
import everyclass.workflows.cluster_predict as cluster_predict
from everyclass.cli import main
from everyclass.errors import EveryclassError, InputError
from everyclass.workflows.audit import audit_data
from everyclass.workflows.cluster import (
    Cluster,
    Node,
    _tell_of_silence,
    connected,
    refuse_blind_nodes,
)
from everyclass.workflows.cluster_blocks import MOST_STARTS, answered
from everyclass.workflows.cluster_train import place, train_on
from everyclass.workflows.data_source import DataSource
from everyclass.workflows.events import EpochDone, Event, Finished, TrainingStarted
from everyclass.workflows.finish import Outcome
from everyclass.workflows.job import InterruptedTraining
from everyclass.workflows.launched import RAY_NAME, RAY_STARTS, find_launch
from everyclass.workflows.predict import predict
from everyclass.workflows.train import TrainOptions, train
from image_folders import write_image_folder
from ray_cluster import PATIENCE_SECONDS, Gate, two_cores, with_a_token, workers_of_ray
from same_training import SETTINGS, assert_same_training, last_step

linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")


@pytest.fixture(scope="module", autouse=True)
def _token() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        with_a_token(patch)
        yield


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with two_cores() as found:
        yield found


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """45 images; as in `test_train_together`."""
    folder = tmp_path_factory.mktemp("few")
    return write_image_folder(folder, {"ash": 24, "birch": 12, "cedar": 9})


@pytest.fixture(scope="module")
def alone(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    source = DataSource(source=str(images))
    train(source, out, TrainOptions(wishes=SETTINGS), on_event=lambda _: None)
    return out


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several blocks of images, of which one is none."""
    folder = tmp_path_factory.mktemp("many")
    write_image_folder(folder, {"ash": 150, "birch": 60, "cedar": 40})
    (folder / "ash" / "ash_007.png").write_bytes(b"no image")
    return folder


def gated(module: Any, image: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A gate that shuts when work is handed out, once this process has read what it has to."""
    gate, hand_out = Gate(image), module.answered

    def shut_first(*arguments: Any, **options: Any) -> Any:
        gate.shut()
        return hand_out(*arguments, **options)

    monkeypatch.setattr(module, "answered", shut_first)
    return gate


# -- the same results, also when a worker is killed ------------------------------------------------


@linux
def test_an_audit_is_the_same_when_a_worker_is_killed(
    many: Path, address: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    source = DataSource(source=str(many))
    here = audit_data(source, side=16)
    gate = gated(cluster_audit, many / "birch" / "birch_030.png", monkeypatch)
    with connected(address) as cluster:
        there = audit_data(source, side=16, cluster=cluster)
    assert len(gate.killed) == 1
    assert cluster.redone == 1
    assert "1 part of the work was done again" in cluster.redone_sentence()
    assert there.audit.to_dict() == here.audit.to_dict()
    assert capfd.readouterr() == ("", "")
    assert list(there.table.images) == list(here.table.images)
    assert list(there.table.split_codes()) == list(here.table.split_codes())


@linux
def test_predictions_are_the_same_when_a_worker_is_killed(
    many: Path, alone: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(alone, [str(many)], tmp_path / "here.csv", on_progress=lambda *_: None)
    gate = gated(cluster_predict, many / "birch" / "birch_030.png", monkeypatch)
    with connected(address) as cluster:
        found = predict(
            alone,
            [str(many)],
            tmp_path / "there.csv",
            cluster=cluster,
            on_progress=lambda *_: None,
        )
    assert len(gate.killed) == 1
    assert cluster.redone == 1
    assert (found.n, found.failed) == (250, 1)
    assert (tmp_path / "there.csv").read_text() == (tmp_path / "here.csv").read_text()


@linux
def test_a_training_goes_on_when_a_worker_is_killed(
    images: Path, alone: Path, address: str, tmp_path: Path
) -> None:
    out, events, killed = tmp_path / "run", list[Event](), list[int]()

    def kill_one() -> None:
        limit = time.monotonic() + PATIENCE_SECONDS
        while last_step(out) < 3 and time.monotonic() < limit:
            time.sleep(0.005)
        worker = workers_of_ray("TrainWorker")[-1]
        os.kill(worker, signal.SIGKILL)
        killed.append(last_step(out))

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    with connected(address, workers=2) as cluster:
        outcome = train_on(
            cluster,
            DataSource(source=str(images)),
            out,
            TrainOptions(wishes=SETTINGS, checkpoint_seconds=0),
            go_on=False,
            on_event=events.append,
        )
    assert isinstance(outcome, Outcome)
    assert 3 <= killed[0] < 30
    starts = [one.first_step for one in events if isinstance(one, TrainingStarted)]
    assert starts[0] == 0
    assert starts[1] >= 3
    assert isinstance(events[-1], Finished)
    assert outcome.evaluation == events[-1].evaluation
    assert_same_training(out, alone)
    assert not list(tmp_path.glob(".*"))


def test_ctrl_c_saves_and_ends(images: Path, address: str, tmp_path: Path) -> None:
    out, asked = tmp_path / "run", list[Event]()

    def ask(event: Event) -> None:
        if isinstance(event, EpochDone) and not asked:
            asked.append(event)
            os.kill(os.getpid(), signal.SIGINT)

    wishes = {**SETTINGS, "epochs": 2000}
    with (
        connected(address, workers=1) as cluster,
        pytest.raises(InterruptedTraining, match=r"Stopped at step"),
    ):
        train_on(
            cluster,
            DataSource(source=str(images)),
            out,
            TrainOptions(wishes=wishes),
            go_on=False,
            on_event=ask,
        )
    assert 0 < last_step(out) < 10_000


def test_a_cluster_started_for_one_command(
    images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    variables = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")} | {
        "HOME": str(tmp_path)
    }
    words = ["audit", str(images), "--no-cache", "--json"]
    ended = subprocess.run(
        [sys.executable, "-m", "everyclass", *words, str(tmp_path / "there"), "--ray", "local"],
        env=variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    with pytest.raises(SystemExit) as stop:
        main([*words, str(tmp_path / "here")])
    assert not stop.value.code
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()
    assert ended.stdout.splitlines()[0].strip() == capfd.readouterr().out.splitlines()[0].strip()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]  # no token


# -- what fails ------------------------------------------------------------------------------------


def refused(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    told = capfd.readouterr()
    assert "Traceback" not in told.err
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    return told.err


def test_an_address_without_a_cluster_is_told_at_once(
    images: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    told = refused(["audit", str(images), "--ray", f"127.0.0.1:{port}"], capfd)
    assert f"Nothing answers at 127.0.0.1:{port}" in told
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("address", ["nonsense", "host:", ":6379", "host:99999", "host:port"])
def test_what_is_no_address_is_told(
    address: str, images: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = refused(["audit", str(images), "--ray", address], capfd)
    assert f"--ray cannot be '{address}'" in told


def test_an_address_of_rays_client_is_refused(
    images: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = refused(["audit", str(images), "--ray", "ray://127.0.0.1:10001"], capfd)
    assert "--ray auto" in told


SILENT = """
import everyclass.workflows.cluster as cluster
cluster.CONNECT_SECONDS = 3.0
from everyclass.cli import main
import sys
main(sys.argv[1:])
"""


def test_something_else_at_the_address_does_not_hang(images: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        ended = subprocess.run(
            [sys.executable, "-c", SILENT, "audit", str(images), "--ray", address],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert ended.returncode == 2
    assert f"{address} gives no Ray cluster in 3 seconds" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_without_ray_its_extra_is_named(
    images: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    told = refused(["audit", str(images), "--ray", "local"], capfd)
    assert "pip install 'everyclass[ray]'" in told


def test_options_that_make_no_sense_are_refused(
    images: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "--ray-workers" in refused(["audit", str(images), "--ray-workers", "2"], capfd)
    words = ["train", str(images), "--explain", "--ray", "local"]
    assert "--explain trains nothing" in refused(words, capfd)


def test_a_head_that_is_gone_is_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ray ends the process a minute later, from outside Python and without a word."""
    monkeypatch.setattr(cluster_module, "REACH_SECONDS", 0.05)
    monkeypatch.setattr(cluster_module, "SILENT_SECONDS", 0.1)
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        head.listen()
        name = f"127.0.0.1:{head.getsockname()[1]}"
        over = threading.Event()
        watching = threading.Thread(target=_tell_of_silence, args=(name, over))
        watching.start()
        time.sleep(0.3)
        assert watching.is_alive()
    watching.join(PATIENCE_SECONDS)
    assert f"({name}) has not answered" in capfd.readouterr().err


def test_a_machine_that_does_not_see_a_folder_is_named(address: str, tmp_path: Path) -> None:
    with connected(address) as cluster:
        refuse_blind_nodes(cluster, [str(tmp_path)])
        with pytest.raises(InputError, match=r"Machine .+ \(.+\) does not see .*nowhere"):
            refuse_blind_nodes(cluster, [str(tmp_path), str(tmp_path / "nowhere")])


def test_bad_input_that_a_worker_meets_is_one_message(
    images: Path, address: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["train", str(images), "--out", str(out), "--model", "resnet_nowhere", "--ray"]
    told = refused([*words, address, "--ray-workers", "1"], capfd)
    assert "resnet_nowhere" in told
    assert not out.exists()


class Deadly:
    """Ends the process that answers."""

    def __call__(self, block: pa.Table) -> pa.Table:
        os.kill(os.getpid(), signal.SIGKILL)
        return block


def test_a_block_that_ends_every_process_is_an_error(address: str) -> None:
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with connected(address) as cluster:
        answers = answered(
            cluster,
            iter([pa.table({"row": [7]})]),
            Deadly,
            {},
            block_rows=1,
            stateful=False,
        )
        with pytest.raises(EveryclassError, match=rf"^{MOST_STARTS} processes .* number 8 on"):
            list(answers)


# -- who and where ---------------------------------------------------------------------------------


def nodes(*cores: tuple[int, int]) -> tuple[Node, ...]:
    return tuple(
        Node(key=str(k), name=f"m{k}", cpus=cpus, gpus=gpus) for k, (cpus, gpus) in enumerate(cores)
    )


@pytest.mark.parametrize(
    ("machines", "workers", "device", "expected"),
    [
        ([(2, 0)], None, None, (1, 2, False, "STRICT_PACK")),
        ([(2, 0)], 2, "cpu", (2, 1, False, "STRICT_PACK")),
        ([(16, 0), (8, 0)], None, None, (2, 8, False, "STRICT_SPREAD")),
        ([(16, 0), (8, 0)], 4, None, (4, 4, False, "PACK")),
        ([(16, 0), (8, 0)], 3, None, (3, 5, False, "STRICT_PACK")),
        ([(16, 4), (16, 4)], None, None, (8, 4, True, "PACK")),
        ([(16, 4), (16, 4)], 4, None, (4, 4, True, "STRICT_PACK")),
        ([(16, 4), (16, 4)], None, "cpu", (2, 16, False, "STRICT_SPREAD")),
    ],
)
def test_as_many_processes_on_each_machine(
    machines: list[tuple[int, int]],
    workers: int | None,
    device: str | None,
    expected: tuple[int, int, bool, str],
) -> None:
    cluster = Cluster(address="", nodes=nodes(*machines), workers=workers)
    found = place(cluster, device)
    assert (found.workers, found.cpus, found.gpu, found.strategy) == expected


@pytest.mark.parametrize(
    ("machines", "workers", "device"),
    [([(2, 0)], 3, None), ([(2, 0)], None, "cuda"), ([(8, 4), (8, 2)], None, None)],
)
def test_no_room_is_told(
    machines: list[tuple[int, int]], workers: int | None, device: str | None
) -> None:
    cluster = Cluster(address="", nodes=nodes(*machines), workers=workers)
    with pytest.raises(InputError):
        place(cluster, device)


def test_a_process_of_ray_train_knows_who_it_is() -> None:
    variables = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    variables |= {RAY_NAME: "a", RAY_STARTS: "2", "SLURM_STEP_NUM_TASKS": "4"}
    launch = find_launch(variables)
    assert (launch.launcher, launch.rank, launch.size) == ("Ray Train", 1, 2)
    assert (launch.name, launch.restarted) == ("a", True)
    uneven = {**variables, "WORLD_SIZE": "3"}
    with pytest.raises(InputError, match="--ray-workers"):
        find_launch(uneven)
