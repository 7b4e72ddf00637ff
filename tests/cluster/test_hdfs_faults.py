"""Commits, ownership and a whole run while a real HDFS is ill, dies and comes back."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commit_machine import Commits
from ha import Pair
from hdfs import Hdfs
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from job_records import RECORD, a_run, stage
from pyspark.sql import SparkSession
from racers import race
from spark.drivers import LIMIT_S, inside, wait_for

from mxspark.errors import JobDirError, TakenOver
from mxspark.jobdir import manifest as manifests
from mxspark.jobdir.checkpoints import CheckpointStore
from mxspark.jobdir.layout import JobDir
from mxspark.jobdir.publisher import Delayed, Outcome, Published, Publisher, settle
from mxspark.protocol.events import Staged
from mxspark.spark.hadoop.storage import HadoopStorage
from mxspark.storage.base import Storage, join


class Rig:
    """A publisher of checkpoints on HDFS, as the driver has one."""

    def __init__(self, session: SparkSession, root: str) -> None:
        self.storage = HadoopStorage(session)
        self.job_dir = JobDir.acquire(self.storage, root, RECORD, a_run())
        self.store = CheckpointStore(self.job_dir, 3)
        self.publisher = Publisher(self._publish, retry_s=LIMIT_S)
        self.said: list[Outcome] = []

    def _publish(self, staged: Staged) -> str:
        return self.store.commit(staged).path

    def take(self) -> None:
        self.said += self.publisher.outcomes()

    def until_delayed(self) -> str:
        """Wait until the storage refused, and return what it said."""

        def refused() -> bool:
            self.take()
            return any(isinstance(outcome, Delayed) for outcome in self.said)

        wait_for("a failure", refused, LIMIT_S)
        return next(outcome.error.message for outcome in self.said if isinstance(outcome, Delayed))

    def settle(self) -> None:
        settle(self.publisher, self.take, time.sleep)
        assert isinstance(self.said[-1], Published)

    def assert_holds(self, *steps: int, into: Path) -> None:
        """Exactly these are published, and every byte of each."""
        names = [entry.name for entry in self.storage.list(self.job_dir.checkpoints)]
        assert names == [f"s{step:08d}-t000001" for step in steps]
        for name in names:
            manifests.fetch(self.storage, join(self.job_dir.checkpoints, name), into / name)


@pytest.fixture
def rig(session: SparkSession, root: str) -> Iterator[Rig]:
    # Hadoop's client knocks once a second, ten times, at a NameNode that is gone
    configuration: Any = session._jsc.hadoopConfiguration()
    configuration.set("ipc.client.connect.max.retries", "1")
    made = Rig(session, root)
    yield made
    made.publisher.close(5)
    configuration.unset("ipc.client.connect.max.retries")


@contextmanager
def safe_mode(session: SparkSession, root: str) -> Iterator[None]:
    file_system = _file_system(session, root)
    action = session._jvm.org.apache.hadoop.fs.SafeModeAction  # type: ignore[union-attr]
    file_system.setSafeMode(action.ENTER)
    try:
        yield
    finally:
        file_system.setSafeMode(action.LEAVE)


def _file_system(session: SparkSession, root: str) -> Any:
    path = session._jvm.org.apache.hadoop.fs.Path(root)  # type: ignore[union-attr]
    return path.getFileSystem(session._jsc.hadoopConfiguration())


def test_safe_mode_delays_a_commit(rig: Rig, session: SparkSession, root: str, tmp_path: Path) -> None:
    with safe_mode(session, root):
        rig.publisher.put(stage(tmp_path, 10))
        assert "HDFS is in safe mode" in rig.until_delayed()
    rig.settle()
    rig.assert_holds(10, into=tmp_path)


def test_a_raised_quota_lets_the_run_go_on(rig: Rig, session: SparkSession, root: str, tmp_path: Path) -> None:
    place = session._jvm.org.apache.hadoop.fs.Path(root)  # type: ignore[union-attr]
    file_system = _file_system(session, root)
    file_system.setQuota(place, 2**63 - 1, 1 << 20)
    rig.publisher.put(stage(tmp_path, 10))
    assert "raise the quota" in rig.until_delayed()
    file_system.setQuota(place, -1, -1)
    rig.settle()
    rig.assert_holds(10, into=tmp_path)
    rig.publisher.close(5)
    file_system.setQuota(place, 2**63 - 1, 1 << 20)
    strict = Publisher(rig._publish, retry_s=1.0)
    strict.put(stage(tmp_path, 20))
    with pytest.raises(JobDirError, match=r"(?s)quota.*tried again for checkpoint\.retry_s = 1 s"):
        settle(strict, lambda: _forget(strict.outcomes), time.sleep)
    file_system.setQuota(place, -1, -1)
    rig.assert_holds(10, into=tmp_path / "again")


def _forget(call: Callable[[], object]) -> None:
    call()


def test_a_name_node_that_is_killed_and_comes_back(rig: Rig, hdfs: Hdfs, tmp_path: Path) -> None:
    rig.publisher.put(stage(tmp_path, 10))
    rig.settle()
    hdfs.kill("namenode")
    rig.publisher.put(stage(tmp_path, 20))
    assert "could not" in rig.until_delayed()
    hdfs.start_name_node()
    hdfs.wait()
    rig.settle()
    rig.assert_holds(10, 20, into=tmp_path)


@pytest.fixture(scope="module")
def pair(session: SparkSession) -> Iterator[Pair]:
    """An HDFS with two NameNodes, known to the session."""
    cluster = Pair()
    configuration: Any = session._jsc.hadoopConfiguration()
    try:
        cluster.start()
        for key, value in cluster.settings.items():
            configuration.set(key, value)
        yield cluster
    finally:
        for key in cluster.settings:
            configuration.unset(key)
        cluster.stop()


@pytest.mark.long
def test_a_name_node_that_is_killed_and_another_takes_over(pair: Pair, session: SparkSession, tmp_path: Path) -> None:
    """While a checkpoint is being put; whether its rename had come through is answered by the other one."""
    rig = Rig(session, f"{pair.uri}/job")
    rig.publisher.put(stage(tmp_path, 10))
    rig.settle()
    rig.publisher.put(stage(tmp_path, 20, {"p.params": os.urandom(1 << 20) * 60}))
    wait_for("the write", lambda: pair.blocks_being_written(), LIMIT_S)
    pair.kill("nn1")
    pair.activate("nn2")
    rig.settle()
    rig.assert_holds(10, 20, into=tmp_path)
    rig.publisher.close(5)
    later = JobDir.acquire(rig.storage, f"{pair.uri}/job", RECORD, a_run())
    with pytest.raises(TakenOver, match="another run owns the job dir"):
        rig.job_dir.check_owner()
    assert later.term == 2


def test_a_data_node_that_is_killed_during_a_write(rig: Rig, hdfs: Hdfs, tmp_path: Path) -> None:
    rig.publisher.put(stage(tmp_path, 10))
    rig.settle()
    before = hdfs.blocks_being_written()
    rig.publisher.put(stage(tmp_path, 20, {"p.params": os.urandom(1 << 20) * 120}))
    wait_for("the write", lambda: hdfs.blocks_being_written() - before, LIMIT_S)
    hdfs.kill("datanode")
    rig.until_delayed()
    hdfs.start_data_node()
    hdfs.wait()
    rig.settle()
    rig.assert_holds(10, 20, into=tmp_path)


def test_any_sequence_of_commits_faults_and_take_overs(session: SparkSession, root: str) -> None:
    """The model of `core/test_commit_model.py`, on the real thing."""
    numbers = itertools.count(1)
    storage = HadoopStorage(session)
    storage.make_folder(root)

    class OnHdfs(Commits):
        def inner(self) -> tuple[Storage, str]:
            return storage, f"{root}/machine{next(numbers)}"

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        OnHdfs,
        settings=settings(
            max_examples=5, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_of_racing_processes_of_different_jobs_exactly_one_owns(root: str, session: SparkSession) -> None:
    HadoopStorage(session).make_folder(root)
    race(root, rounds=6)


def test_a_run_goes_on_while_hdfs_is_in_safe_mode(session: SparkSession, root: str, tmp_path: Path) -> None:
    """Training makes its steps, the run ends once HDFS is well again, with its last checkpoint and model published."""
    HadoopStorage(session).make_folder(root)
    sections: dict[str, dict[str, Any]] = {
        "job": {"dir": f"{root}/job"},
        "training": {"metrics": ["spark.gates:slow"], "epochs": 3},
        "checkpoint": {"every_steps": 3},
        "report": {"progress": "lines", "every_s": 0.1},
    }
    with inside(tmp_path, "none", cluster={"environment": {"SLOW_S": "0.1"}}, **sections) as run:
        wait_for(
            "the first checkpoint", lambda: HadoopStorage(session).stat(f"{root}/job/checkpoints/s00000003-t000001")
        )
        behind = len(run.log)
        with safe_mode(session, root):
            wait_for("the warning", lambda: "HDFS is in safe mode" in run.log)
            wait_for("the last epoch", lambda: "epoch 3" in run.log[behind:])
        assert run.popen.wait(LIMIT_S) == 0, run.log
        outcome = run.outcome()
    assert (outcome["status"], outcome["steps"], outcome["attempts"]) == ("succeeded", 36, [])
    assert (
        outcome["checkpoint"] == f"{root}/job/checkpoints/s00000036-t000001" and outcome["model"] == f"{root}/job/model"
    )


def test_a_run_whose_job_dir_is_removed_ends_with_one_error(session: SparkSession, root: str, tmp_path: Path) -> None:
    storage = HadoopStorage(session)
    storage.make_folder(root)
    sections: dict[str, dict[str, Any]] = {
        "job": {"dir": f"{root}/job"},
        "checkpoint": {"every_steps": 4},
        "failure": {"lease_s": 6.0, "hang_s": 300.0},
    }
    with inside(tmp_path, "middle", **sections) as run:
        run.reached()
        wait_for("a checkpoint", lambda: storage.stat(f"{root}/job/checkpoints/s00000008-t000001"))
        storage.remove(f"{root}/job", recursive=True)
        assert run.popen.wait(LIMIT_S) == 2, run.log
    outcome = run.outcome()
    assert f"the job dir {root}/job was removed or moved away" in outcome["message"]
    assert [outcome[name] for name in ("checkpoint", "events", "model", "best_model")] == [None] * 4
    assert storage.list(root) == ()
