"""Published models, and taking a job dir over, whatever goes wrong meanwhile."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Callable

import pytest
from job_records import RECORD, a_run, stage

from mxspark.config.sections import CheckpointSection
from mxspark.errors import ClusterError, InternalError, JobDirError, MXSparkError
from mxspark.jobdir.layout import JobDir
from mxspark.jobdir.ownership import Claim
from mxspark.jobdir.publish import publish_model, read_model
from mxspark.jobdir.record_file import read as read_record
from mxspark.spark.run.publishing import Publishing
from mxspark.storage.base import join
from mxspark.storage.memory import Fault, InMemoryStorage, Killed

MODEL_1, MODEL_2 = {"net-symbol.json": b"{1}", "net-0000.params": b"1111"}, {"net-symbol.json": b"{2}"}


def published(storage: InMemoryStorage, name: str = "model") -> dict[str, bytes] | None:
    """Return the files of a published model, None if there is none."""
    path = join("/job", name)
    if storage.stat(path) is None:
        return None
    files = {entry.name: storage.read(join(path, entry.name), 1 << 20) for entry in storage.list(path)}
    files.pop("manifest.json")
    return files


def test_model_replaces_the_one_before(tmp_path: Path) -> None:
    storage = InMemoryStorage()
    job_dir = JobDir.acquire(storage, "/job", RECORD, a_run())
    assert read_model(job_dir) is None
    publish_model(job_dir, stage(tmp_path, 10, MODEL_1, "model"))
    assert publish_model(job_dir, stage(tmp_path, 20, MODEL_2, "model")) == "memory:///job/model"
    publish_model(job_dir, stage(tmp_path, 10, MODEL_1, "best"), "model-best")
    assert published(storage) == MODEL_2
    assert published(storage, "model-best") == MODEL_1
    manifest = read_model(job_dir)
    assert manifest is not None and (manifest.step, manifest.kind, manifest.term) == (20, "model", 1)
    assert list(tmp_path.iterdir()) == [], "a staged folder is left"
    assert storage.list(job_dir.tmp) == ()
    with pytest.raises(InternalError, match="none of the model folders"):
        publish_model(job_dir, stage(tmp_path, 10, MODEL_1, "model"), "checkpoints")


def test_older_owner_cannot_replace_the_model(tmp_path: Path) -> None:
    storage = InMemoryStorage()
    old = JobDir.acquire(storage, "/job", RECORD, a_run())
    new = JobDir.acquire(storage, "/job", RECORD, a_run())
    publish_model(new, stage(tmp_path, 10, MODEL_1, "model"))
    with pytest.raises(JobDirError, match="another run owns"):
        publish_model(old, stage(tmp_path, 20, MODEL_2, "model"))
    assert published(storage) == MODEL_1
    assert [entry.name for entry in storage.list("/job/_tmp")] == ["t000002"], "the zombie made its folder anew"


def faults_of(act: Callable[[InMemoryStorage], None], prepare: Callable[[], InMemoryStorage]) -> list[Fault]:
    """Return every fault that can befall `act`."""
    storage = prepare()
    before = storage.writes
    act(storage)
    return [
        Fault(at, how, kill)
        for at in range(before + 1, storage.writes + 1)
        for how in ("before", "after", "torn")
        for kill in (True, False)
    ]


def test_model_is_old_or_new_whatever_goes_wrong_while_it_is_replaced(tmp_path: Path) -> None:
    run = a_run()

    def prepare() -> InMemoryStorage:
        storage = InMemoryStorage()
        publish_model(JobDir.acquire(storage, "/job", RECORD, run), stage(tmp_path, 10, MODEL_1, "model"))
        return storage

    def replace(storage: InMemoryStorage) -> None:
        job_dir = JobDir(storage, "memory:///job", 1, run)
        publish_model(job_dir, stage(tmp_path, 20, MODEL_2, "model"))

    faults = faults_of(replace, prepare)
    assert len(faults) > 30
    for fault in faults:
        storage = prepare()
        storage.fault = fault
        try:
            replace(storage)
        except ClusterError:
            assert not fault.kill
            assert published(storage) in (MODEL_1, MODEL_2), fault
        except Killed:
            assert fault.kill
        storage.fault = None
        if not fault.kill:
            replace(storage)
            assert published(storage) == MODEL_2, f"{fault}: the same run cannot try again"
        next_run = JobDir.acquire(storage, "/job", RECORD, a_run())
        assert published(storage) in (MODEL_1, MODEL_2), fault
        assert [entry.name for entry in storage.list("/job/_tmp")] == ["t000002"], fault
        publish_model(next_run, stage(tmp_path, 20, MODEL_2, "model"))
        assert published(storage) == MODEL_2
        assert storage.list(next_run.tmp) == ()


def test_job_dir_can_be_owned_whatever_went_wrong_while_it_was_taken_over(tmp_path: Path) -> None:
    def prepare() -> InMemoryStorage:
        """A job dir whose owner was killed between the two renames of a model."""
        storage = InMemoryStorage()
        job_dir = JobDir.acquire(storage, "/job", RECORD, a_run())
        publish_model(job_dir, stage(tmp_path, 10, MODEL_1, "model"))
        storage.rename("/job/model", join(job_dir.tmp, "replaced-model"))
        return storage

    def own(storage: InMemoryStorage) -> None:
        JobDir.acquire(storage, "/job", RECORD, a_run())

    for make in (prepare, InMemoryStorage):
        for fault in faults_of(own, make):
            storage = make()
            storage.fault = fault
            with contextlib.suppress(MXSparkError, Killed):
                own(storage)
            storage.fault = None
            run = a_run()
            claim = Claim(storage, "/job", run, take_over=True)  # or it waits for a lease where the owner is torn
            next_run = JobDir.acquire(storage, "/job", RECORD, run, claim)
            assert read_record(storage, "/job") == RECORD
            next_run.check_owner()
            assert published(storage) == (MODEL_1 if make is prepare else None), fault
            owned = [entry.name for entry in storage.list("/job/_tmp") if entry.name.startswith(("t0", "taken"))]
            assert owned == [f"t{next_run.term:06d}"], fault


@pytest.mark.parametrize(("kind", "name"), [("model", "model"), ("best", "model-best")])
def test_a_model_that_will_be_replaced_is_named_also_where_it_is_the_best_alone(
    kind: str, name: str, tmp_path: Path
) -> None:
    storage = InMemoryStorage()
    owned = JobDir.acquire(storage, "/job", RECORD, a_run())
    publishing = Publishing(owned, CheckpointSection())
    assert publishing.to_be_replaced() == ""
    publish_model(owned, stage(tmp_path, 10, kind=kind), name)
    assert "/job holds a model, of step 10, and no checkpoint to go on from" in publishing.to_be_replaced()
    publishing.close()
