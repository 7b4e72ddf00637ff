"""The storage seam, commits and fencing on a real HDFS."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hdfs import Hdfs
from job_records import RECORD, a_run, stage
from pyspark.sql import SparkSession
from storage_contract import Place, StorageContract

from mxspark.errors import ClusterError, JobDirError
from mxspark.job.record import Fresh
from mxspark.jobdir.checkpoints import CheckpointStore
from mxspark.jobdir.layout import JobDir, preflight
from mxspark.jobdir.publish import publish_model, read_model
from mxspark.spark.hadoop.storage import HadoopStorage
from mxspark.spark.run import starting_over
from mxspark.storage.base import join


class TestHadoopOnHdfs(StorageContract):
    @pytest.fixture
    def place(self, session: SparkSession, root: str) -> Place:
        storage = HadoopStorage(session)
        storage.make_folder(root)
        return storage, root


def jvm(session: SparkSession) -> Any:
    """Return the driver's Java classes."""
    return session._jvm


@contextmanager
def as_user(session: SparkSession, name: str) -> Iterator[None]:
    """Be another user to HDFS, which believes what a client without Kerberos says."""
    users: Any = jvm(session).org.apache.hadoop.security.UserGroupInformation
    before = users.getLoginUser()
    users.setLoginUser(users.createRemoteUser(name))
    try:
        yield
    finally:
        users.setLoginUser(before)


def file_system(session: SparkSession, root: str) -> Any:
    """Return HDFS's own object, for what only its operator does."""
    path = jvm(session).org.apache.hadoop.fs.Path(root)
    return path.getFileSystem(session._jsc.hadoopConfiguration())


def test_of_racing_creators_and_renamers_one_wins(session: SparkSession, root: str) -> None:
    storages = [HadoopStorage(session) for _ in range(6)]
    storages[0].make_folder(root)

    def race(number: int, me: int) -> list[str]:
        won = []
        storages[me].make_folder(f"{root}/draft{number}-{me}")
        for how in ("create", "rename"):
            try:
                if how == "create":
                    storages[me].create(f"{root}/file{number}", b"%d" % me)
                else:
                    storages[me].rename(f"{root}/draft{number}-{me}", f"{root}/folder{number}")
                won.append(how)
            except FileExistsError:
                pass
        return won

    with ThreadPoolExecutor(6) as pool:
        for number in range(15):
            won = [name for names in pool.map(race, [number] * 6, range(6)) for name in names]
            assert sorted(won) == ["create", "rename"], number


def test_of_racing_owners_each_has_its_term(session: SparkSession, root: str) -> None:
    storages = [HadoopStorage(session) for _ in range(4)]

    def own(me: int) -> int:
        try:
            return JobDir.acquire(storages[me], root, RECORD, a_run()).term
        except JobDirError as error:
            assert "another run owns" in str(error)
            return 0

    with ThreadPoolExecutor(4) as pool:
        for number in range(1, 4):
            terms = [term for term in pool.map(own, range(4)) if term]
            assert len(set(terms)) == len(terms)
            assert max(terms) == 4 * number


def test_commit_restore_and_model(session: SparkSession, root: str, tmp_path: Path) -> None:
    storage = HadoopStorage(session)
    store = CheckpointStore(JobDir.acquire(storage, root, RECORD, a_run()), 2)
    for step in (10, 20, 30):
        assert store.commit(stage(tmp_path, step)).path == f"{root}/checkpoints/s{step:08d}-t000001"
    job_dir = JobDir.acquire(storage, root, RECORD, a_run())
    found = CheckpointStore(job_dir, 2).newest(tmp_path / "into")
    assert found is not None and found.restore.step == 30
    assert (Path(found.restore.path) / "p.params").read_bytes() == b"parameters 30" * 50
    assert [entry.name for entry in storage.list(job_dir.checkpoints)] == ["s00000020-t000001", "s00000030-t000001"]
    for step in (10, 20):
        publish_model(job_dir, stage(tmp_path, step, kind="model"))
    model = read_model(job_dir)
    assert model is not None and model.step == 20
    assert [entry.name for entry in storage.list(join(root, "_tmp"))] == ["t000002"]
    assert storage.list(job_dir.tmp) == ()


def test_older_owner_cannot_publish(session: SparkSession, root: str, tmp_path: Path) -> None:
    storage = HadoopStorage(session)
    old = JobDir.acquire(storage, root, RECORD, a_run())
    CheckpointStore(old, 2).commit(stage(tmp_path, 10))
    new = JobDir.acquire(HadoopStorage(session), root, RECORD, a_run())
    old.check_owner = lambda: None  # type: ignore[method-assign] # as if it had looked just before
    with pytest.raises(ClusterError, match="FileNotFoundError"):
        CheckpointStore(old, 2).commit(stage(tmp_path, 20))
    del old.check_owner
    with pytest.raises(JobDirError, match=rf"another run owns the job dir {root}: term 2, run {new.run.run_id} of ann"):
        CheckpointStore(old, 2).commit(stage(tmp_path, 20))
    assert [entry.name for entry in storage.list(new.checkpoints)] == ["s00000010-t000001"]
    assert [entry.name for entry in storage.list(join(root, "_tmp"))] == ["t000002"]


def test_a_command_that_starts_over_on_hdfs_deletes_nothing_and_its_retry_goes_on(
    session: SparkSession, root: str, tmp_path: Path
) -> None:
    storage = HadoopStorage(session)
    old = JobDir.acquire(storage, root, RECORD, a_run())
    CheckpointStore(old, 2).commit(stage(tmp_path, 10))
    wished = Fresh("dag.task.run", {"rate": 0.1})
    nobody: Any = None
    assert starting_over.decide(nobody, storage, root, wished, RECORD).fresh
    owned = JobDir.acquire(storage, root, RECORD, a_run(), fresh=wished)
    assert owned.aside == f"{root}/_aside/t000002" and CheckpointStore(owned, 2).newest(tmp_path / "none") is None
    again = JobDir.acquire(storage, owned.aside, RECORD, a_run())
    found = CheckpointStore(again, 2).newest(tmp_path / "into")
    assert found is not None and found.restore.step == 10
    retry = starting_over.decide(nobody, HadoopStorage(session), root, wished, RECORD)
    assert retry.fresh is None and retry.why.endswith("this one goes on from there")
    other = starting_over.decide(nobody, storage, root, Fresh("dag.task.run", {"rate": 0.2}), RECORD)
    assert other.fresh and "rate: 0.1 -> 0.2" in other.why
    with pytest.raises(JobDirError, match="another run owns the job dir"):
        CheckpointStore(old, 2).commit(stage(tmp_path, 20))


def test_missing_rights_name_user_path_and_remedy(session: SparkSession, root: str) -> None:
    HadoopStorage(session).make_folder(root)
    with as_user(session, "alice"):
        alice = HadoopStorage(session)
        alice.qualify(root)
    for path in (root, join(root, "deep", "job")):
        with pytest.raises(JobDirError) as caught:
            preflight(alice, path)
        assert "user 'alice' may not make" in str(caught.value)
        assert "Permission denied: user=alice, access=WRITE" in str(caught.value)
        assert "set job.dir to a folder it can write to" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_quota_is_an_error_that_leaves_the_old_checkpoint(session: SparkSession, root: str, tmp_path: Path) -> None:
    storage = HadoopStorage(session)
    job_dir = JobDir.acquire(storage, root, RECORD, a_run())
    store = CheckpointStore(job_dir, 2)
    store.commit(stage(tmp_path, 10))
    place = jvm(session).org.apache.hadoop.fs.Path(root)
    no_limit = 2**63 - 1
    file_system(session, root).setQuota(place, no_limit, 1 << 20)
    staged = stage(tmp_path, 20)
    with pytest.raises(JobDirError, match=r"no room to write .*quota.*raise the quota"):
        store.commit(staged)
    file_system(session, root).setQuota(place, 20, no_limit)
    with pytest.raises(JobDirError, match=r"no room to .*quota"):
        for number in range(20):
            job_dir.write_run_file(f"file{number}", b"")
    file_system(session, root).setQuota(place, -1, -1)
    assert storage.list(job_dir.tmp) == (), "the failed upload takes room"
    assert store.commit(staged).step == 20


def test_safe_mode_heals(session: SparkSession, root: str, tmp_path: Path) -> None:
    storage = HadoopStorage(session)
    store = CheckpointStore(JobDir.acquire(storage, root, RECORD, a_run()), 2)
    store.commit(stage(tmp_path, 10))
    staged = stage(tmp_path, 20)
    action = jvm(session).org.apache.hadoop.fs.SafeModeAction
    file_system(session, root).setSafeMode(action.ENTER)
    try:
        with pytest.raises(ClusterError, match="HDFS is in safe mode, in which nothing can be written"):
            store.commit(staged)
        found = store.newest(tmp_path / "into")
        assert found is not None and found.restore.step == 10
    finally:
        file_system(session, root).setSafeMode(action.LEAVE)
    assert store.commit(staged).step == 20


def test_bit_flip_on_the_data_node_is_found(hdfs: Hdfs, session: SparkSession, root: str, tmp_path: Path) -> None:
    storage = HadoopStorage(session)
    store = CheckpointStore(JobDir.acquire(storage, root, RECORD, a_run()), 2)
    store.commit(stage(tmp_path, 10))
    store.commit(stage(tmp_path, 20, {"p.params": b"x" * 12_347}))
    (block,) = hdfs.blocks(12_347)
    data = bytearray(block.read_bytes())
    data[5_000] ^= 1
    block.write_bytes(bytes(data))
    found = store.newest(tmp_path / "into")
    assert found is not None and found.restore.step == 10
    assert "s00000020-t000001 is damaged and set aside" in found.warnings[0]


def test_no_name_node_is_one_clear_line(session: SparkSession) -> None:
    start = time.monotonic()
    with pytest.raises(ClusterError, match=r"could not make hdfs://127\.0\.0\.1:1/jobs: .*refused") as caught:
        preflight(HadoopStorage(session), "hdfs://127.0.0.1:1/jobs")
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 60
