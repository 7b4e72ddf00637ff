"""Starting over: what a job dir holds is set aside whole, by its owner alone, and once for all tries of a command."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Optional

import pytest
from job_records import RECORD, SETTINGS, a_run, stage

from mxspark.errors import JobDirError, OwnerLives, TakenOver
from mxspark.jobdir import record_file
from mxspark.jobdir.checkpoints import CheckpointStore
from mxspark.jobdir.fresh import is_begun
from mxspark.jobdir.layout import Fresh, JobDir, preflight
from mxspark.jobdir.ownership import Claim
from mxspark.jobdir.publish import publish_model
from mxspark.storage.base import Storage
from mxspark.storage.local import LocalStorage
from mxspark.storage.memory import Fault, InMemoryStorage, Killed

OTHER = dataclasses.replace(RECORD, settings=dataclasses.replace(SETTINGS, seed=8))


def names(storage: Storage, path: str) -> list[str]:
    return [entry.name for entry in storage.list(path)]


def finished(storage: Storage, path: str, folder: Path) -> JobDir:
    """Return a job dir with a checkpoint, a model and a folder of a run."""
    owned = JobDir.acquire(storage, path, RECORD, a_run())
    CheckpointStore(owned, 3).commit(stage(folder, 10))
    publish_model(owned, stage(folder, 10, kind="model"))
    return owned


def start_over(storage: Storage, path: str, command: Optional[str] = None) -> JobDir:
    return JobDir.acquire(storage, path, OTHER, a_run(), fresh=Fresh(command))


@pytest.mark.parametrize("kind", ["memory", "local"])
def test_all_of_the_old_job_is_set_aside_as_a_job_dir_of_its_own(tmp_path: Path, kind: str) -> None:
    storage: Storage = InMemoryStorage() if kind == "memory" else LocalStorage()
    path = "/job" if kind == "memory" else str(tmp_path / "job")
    old = finished(storage, path, tmp_path)
    owned = start_over(storage, path)
    assert owned.aside is not None and owned.aside.endswith("/job/_aside/t000002")
    assert names(storage, owned.aside) == ["_job.json", "checkpoints", "model", "runs"]
    assert names(storage, owned.path) == ["_aside", "_job.json", "_terms", "_tmp", "checkpoints", "runs"]
    assert (names(storage, owned.checkpoints), names(storage, owned.path + "/runs")) == ([], [owned.run.run_id])
    assert record_file.read(storage, owned.path) == OTHER
    with pytest.raises(TakenOver):
        old.check_owner()
    again = JobDir.acquire(storage, owned.aside, RECORD, a_run())
    found = CheckpointStore(again, 3).newest(tmp_path / "restored")
    assert found is not None and found.restore.step == 10, "it can be gone on with from where it lies"


def test_an_empty_job_dir_has_nothing_to_set_aside() -> None:
    storage = InMemoryStorage()
    assert start_over(storage, "/job").aside is None
    assert "_aside" not in names(storage, "/job")


def test_a_live_owner_of_another_job_is_refused_as_ever() -> None:
    storage = InMemoryStorage()
    JobDir.acquire(storage, "/job", RECORD, a_run("theirs"))
    run = a_run("mine")

    def touching(_seconds: float) -> None:
        storage.touch("/job/_terms/t000001")

    claim = Claim(storage, "/job", run, sleep=touching)
    with pytest.raises(OwnerLives):
        JobDir.acquire(storage, "/job", OTHER, run, claim, fresh=Fresh())
    assert "_aside" not in names(storage, "/job") and record_file.read(storage, "/job") == RECORD


@pytest.mark.parametrize("how", ["before", "after"])
def test_who_dies_while_starting_over_has_deleted_nothing(tmp_path: Path, how: str) -> None:
    probe = InMemoryStorage()
    finished(probe, "/job", tmp_path)
    before = probe.writes
    start_over(probe, "/job")
    for at in range(1, probe.writes - before + 1):
        storage = InMemoryStorage()
        finished(storage, "/job", tmp_path)
        storage.fault = Fault(storage.writes + at, how, kill=True)
        with pytest.raises(Killed):
            start_over(storage, "/job")
        storage.fault = None
        preflight(storage, "/job")
        start_over(storage, "/job")
        kept = {name for aside in storage.list("/job/_aside") for name in names(storage, f"/job/_aside/{aside.name}")}
        assert kept >= {"_job.json", "checkpoints", "model", "runs"}, f"write {at}"
        assert record_file.read(storage, "/job") == OTHER
        now = CheckpointStore(JobDir.acquire(storage, "/job", OTHER, a_run()), 3)
        assert now.newest(tmp_path / "none") is None


def test_who_was_taken_over_sets_nothing_of_its_successor_aside(tmp_path: Path) -> None:
    """It is stopped right before each of its writes, while another run starts over, trains and publishes."""

    class Sleeping(InMemoryStorage):
        sleep_at = 0

        def rename(self, source: str, target: str) -> None:
            if self.writes + 1 == self.sleep_at:
                self.sleep_at = 0
                other = InMemoryStorage()
                other._tree = self._tree
                CheckpointStore(start_over(other, "/job"), 3).commit(stage(tmp_path, 77))
            super().rename(source, target)

    woken = 0
    for at in range(1, 20):
        storage = Sleeping()
        finished(storage, "/job", tmp_path)
        storage.sleep_at = storage.writes + at
        try:
            start_over(storage, "/job")
        except TakenOver:  # not so where it slept before it had its own term, which is then the later one
            woken += 1
            assert names(storage, "/job/checkpoints") == ["s00000077-t000003"], f"write {at}"
    assert woken >= 4


def test_a_try_of_the_same_command_goes_on_until_it_has_come_to_its_end(tmp_path: Path) -> None:
    storage = InMemoryStorage()
    finished(storage, "/job", tmp_path)
    assert not is_begun(storage, "/job", SETTINGS, "dag.task.run"), "it was not begun by that command"
    owned = start_over(storage, "/job", "dag.task.run")
    assert is_begun(storage, "/job", OTHER.settings, "dag.task.run"), "a retry"
    assert not is_begun(storage, "/job", OTHER.settings, "dag.task.next_run")
    assert not is_begun(storage, "/job", OTHER.settings, None), "given again by hand"
    assert not is_begun(storage, "/job", SETTINGS, "dag.task.run"), "no retry: another job"
    publish_model(owned, stage(tmp_path, 10, kind="model"))
    assert not is_begun(storage, "/job", OTHER.settings, "dag.task.run"), "it has succeeded, and is wanted once more"


def test_by_hand_each_time_is_one_of_its_own() -> None:
    storage = InMemoryStorage()
    start_over(storage, "/job")
    assert not is_begun(storage, "/job", OTHER.settings, None)


def test_of_another_job_it_is_said_how_to_start_over() -> None:
    storage = InMemoryStorage()
    JobDir.acquire(storage, "/job", RECORD, a_run())
    with pytest.raises(JobDirError, match=r"start over in this one with --fresh \(job.fresh: true\)"):
        JobDir.acquire(storage, "/job", OTHER, a_run())
