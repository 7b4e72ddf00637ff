"""A job dir that is removed while a run is at work in it: known at once, told once, and never made again.

What each storage has to do for that is in `storage_contract.py`.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from job_records import RECORD, a_run, stage

from mxspark.errors import ClusterError, JobDirError, JobDirRemoved
from mxspark.errors.cause import Cause
from mxspark.jobdir import run_folder
from mxspark.jobdir.checkpoints import CheckpointStore
from mxspark.jobdir.layout import JobDir
from mxspark.jobdir.lease import Lease
from mxspark.jobdir.publish import publish_model
from mxspark.jobdir.publisher import Publisher, settle
from mxspark.result import FAILED, Result, with_cause
from mxspark.storage.base import Storage, join
from mxspark.storage.local import LocalStorage
from mxspark.storage.memory import InMemoryStorage

WORDS = r"the job dir \S+/job was removed or moved away while this run was at work in it; by whom is not known\. Its "


class Place(NamedTuple):
    storage: Storage
    path: str

    def own(self, lease_s: float = 30.0) -> JobDir:
        return JobDir.acquire(self.storage, self.path, RECORD, a_run(lease_s=lease_s))

    def remove(self) -> None:
        self.storage.remove(self.path, recursive=True)


@pytest.fixture(params=["memory", "local"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "memory":
        storage = InMemoryStorage()
        storage.make_folder("/top")
        return Place(storage, "/top/job")
    return Place(LocalStorage(), str(tmp_path / "job"))


def assert_nothing_made(place: Place) -> None:
    assert place.storage.stat(place.path) is None


def test_a_publisher_does_not_try_again(place: Place, tmp_path: Path) -> None:
    owned = place.own()
    store = CheckpointStore(owned, 3)
    publisher = Publisher(lambda staged: store.commit(staged).path, retry_s=60.0)
    place.remove()
    publisher.put(stage(tmp_path / "staged", 10))
    start = time.monotonic()
    with pytest.raises(JobDirError, match=WORDS):
        settle(publisher, publisher.outcomes, time.sleep)
    publisher.close(5.0)
    assert time.monotonic() - start < 50, "it was tried again"
    assert_nothing_made(place)


def test_a_file_in_its_place_is_no_job_dir(place: Place, tmp_path: Path) -> None:
    owned = place.own()
    place.remove()
    place.storage.create(place.path, b"")
    with pytest.raises(JobDirRemoved, match="was removed or moved away while this run was at work"):
        owned.check_owner()
    with pytest.raises(JobDirRemoved, match="was removed or moved away while this run was at work"):
        CheckpointStore(owned, 3).commit(stage(tmp_path / "staged", 10))


def test_the_lease_finds_out_within_the_lease_and_leaves_no_trace(place: Place) -> None:
    owned = place.own(lease_s=3.0)
    with Lease(owned) as held:
        held.sleep(0.3)
        place.remove()
        start = time.monotonic()
        with pytest.raises(JobDirRemoved, match="was removed or moved away while this run was at work"):
            held.sleep(60)
        assert time.monotonic() - start < 3.0, "within its lease"
    assert_nothing_made(place)


def test_one_that_was_made_anew_is_not_ours(place: Place, tmp_path: Path) -> None:
    """Its first term has the number of ours: neither may we publish in it, nor end its owner's term."""
    owned = place.own(lease_s=3.0)
    with Lease(owned) as held:
        place.remove()
        new = place.own()
        assert new.term == owned.term
        with pytest.raises(JobDirRemoved, match="was removed or moved away while this run was at work"):
            CheckpointStore(owned, 3).commit(stage(tmp_path / "staged", 10))
        with pytest.raises(JobDirRemoved, match="was removed or moved away while this run was at work"):
            held.sleep(60)
    new.check_owner()
    assert place.storage.list(new.checkpoints) == ()
    assert [entry.name for entry in place.storage.list(join(new.path, "_terms"))] == ["t000001"]
    assert [entry.name for entry in place.storage.list(join(new.path, "runs"))] == [new.run.run_id]


def test_a_run_whose_own_folder_alone_is_removed_goes_on(place: Place, tmp_path: Path) -> None:
    owned = place.own()
    place.storage.remove(owned.run_folder, recursive=True)
    owned.check_owner()
    assert CheckpointStore(owned, 3).commit(stage(tmp_path / "staged", 10)).step == 10


def test_checkpoints_that_alone_are_removed_are_a_storage_that_is_ill(place: Place, tmp_path: Path) -> None:
    owned = place.own()
    place.storage.remove(owned.checkpoints, recursive=True)
    for attempt in (lambda s: s.commit(stage(tmp_path / "staged", 10)), lambda s: s.newest(tmp_path / "into")):
        with pytest.raises(ClusterError, match="checkpoints"):
            attempt(CheckpointStore(owned, 3))


def test_what_is_gone_is_not_listed(place: Place, tmp_path: Path) -> None:
    owned = place.own()
    journal = tmp_path / "events.jsonl"
    journal.write_text("{}\n")
    checkpoint = CheckpointStore(owned, 3).commit(stage(tmp_path / "staged", 10)).path
    publish_model(owned, stage(tmp_path / "staged", 10, kind="model"))
    result = with_cause(Result(FAILED, owned.run.run_id, "sad"), Cause("removed", "driver", 0, "h", 7, "gone"))
    said: list[str] = []

    assert run_folder.path_if_there(owned.storage, checkpoint) == checkpoint
    assert [*run_folder.published_models(owned)] == ["model"]
    left = run_folder.write_outcome(owned, journal, result, said.append)
    assert left.events == join(owned.run_folder, "events.jsonl") and not said
    assert {entry.name for entry in owned.storage.list(owned.run_folder)} == {
        "events.jsonl", "result.json", "failure.json",
    }  # fmt: skip

    journal.write_text("")
    owned.storage.remove(join(owned.run_folder, "events.jsonl"))
    assert run_folder.write_outcome(owned, journal, result, said.append).events is None, "an empty file is none"
    assert {entry.name for entry in owned.storage.list(owned.run_folder)} == {"result.json", "failure.json"}

    journal.write_text("{}\n")
    place.remove()
    assert run_folder.path_if_there(owned.storage, checkpoint) is None
    assert run_folder.published_models(owned) == {}
    assert run_folder.write_outcome(owned, journal, result, said.append) == result and result.events is None
    run_folder.write_logs(owned, {"worker-0": "log"}, 1, said.append)
    assert len(said) == 2 and f"{owned.run_folder} is gone" in said[0]
    assert_nothing_made(place)


class Ill(InMemoryStorage):
    """It answers nothing once it is ill, and changes nothing."""

    ill = False

    def _read(self) -> None:
        if self.ill:
            raise ClusterError("safe mode")


def test_a_storage_that_does_not_answer_is_not_one_that_is_gone(tmp_path: Path) -> None:
    storage = Ill()
    owned = JobDir.acquire(storage, "/job", RECORD, a_run(lease_s=0.3))
    store = CheckpointStore(owned, 3)
    checkpoint = store.commit(stage(tmp_path / "staged", 10)).path
    with Lease(owned) as held:
        storage.ill = True
        held.sleep(0.5)
        with pytest.raises(ClusterError, match="safe mode"):
            store.commit(stage(tmp_path / "staged", 20))
        assert run_folder.path_if_there(storage, checkpoint) == checkpoint
        assert run_folder.published_models(owned) == {}
        storage.ill = False
        held.sleep(0.2)
    assert store.commit(stage(tmp_path / "staged", 20)).step == 20
    assert storage.stat("/job/_terms/t000001-over") is not None


def test_a_local_disk_that_cannot_be_read_is_not_one_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned = JobDir.acquire(LocalStorage(), str(tmp_path / "job"), RECORD, a_run())

    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "scandir", fails)
    monkeypatch.setattr(os, "listdir", fails)
    with pytest.raises(ClusterError, match="Input/output error"):
        owned.check_owner()
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "job")
    with pytest.raises(JobDirRemoved, match="was removed or moved away while this run was at work"):
        owned.check_owner()
