"""What environment variables of torchrun and srun say."""

from __future__ import annotations

import pytest

from everyclass.errors import InputError
from everyclass.workflows.launched import Launch, find_launch, refuse_several

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "8f3a",
    "TORCHELASTIC_RESTART_COUNT": "1",
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
}
SRUN = {
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
}


def test_torchrun_is_understood() -> None:
    found = find_launch(TORCHRUN)
    assert found == Launch(
        launcher="torchrun",
        rank=5,
        size=8,
        local_rank=1,
        local_size=4,
        name="8f3a",
        restarted=True,
    )


def test_a_launch_without_a_name_of_its_own_has_none() -> None:
    found = find_launch({**TORCHRUN, "TORCHELASTIC_RUN_ID": "none"})
    assert (found.launcher, found.name) == ("torchrun", "")


def test_srun_is_understood() -> None:
    found = find_launch({**SRUN, "SLURM_RESTART_COUNT": "2"})
    assert found == Launch(
        launcher="srun", rank=3, size=8, local_rank=1, local_size=2, restarted=True
    )
    assert not find_launch(SRUN).restarted


def test_a_batch_script_is_one_process_whatever_it_was_given() -> None:
    script = {name: value for name, value in SRUN.items() if name != "SLURM_STEP_NUM_TASKS"}
    assert find_launch(script) == Launch()


def test_nothing_set_is_one_process() -> None:
    assert find_launch({}) == Launch()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({**TORCHRUN, "RANK": "two"}, "RANK is 'two'"),
        ({**TORCHRUN, "LOCAL_WORLD_SIZE": "3"}, "process 5 of 8, with 3"),
        ({**TORCHRUN, "RANK": "8"}, "process 8 of 8"),
        ({k: v for k, v in SRUN.items() if k != "SLURM_NTASKS_PER_NODE"}, "--ntasks-per-node"),
        ({k: v for k, v in SRUN.items() if k != "SLURM_LOCALID"}, "SLURM_LOCALID is None"),
    ],
)
def test_contradictions_are_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_launch(variables)


def test_commands_of_one_process_refuse_several(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="everyclass audit is for one process; torchrun started 8"):
        refuse_several("audit")
