"""Starting over: what a job dir holds is set aside whole, by its owner alone, and once for all tries of a command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Optional

import pytest
from job_records import RECORD, SETTINGS, a_run, stage

from mxspark.config import resolve
from mxspark.config.job_config import JobConfig
from mxspark.errors import JobDirError, OwnerLives, TakenOver
from mxspark.job import fixed
from mxspark.job.data_record import DataRecord
from mxspark.job.record import Fresh, JobRecord
from mxspark.jobdir import layout, record_file
from mxspark.jobdir.checkpoints import CheckpointStore
from mxspark.jobdir.layout import JobDir, preflight
from mxspark.jobdir.ownership import Claim
from mxspark.jobdir.publish import publish_model
from mxspark.spark.run import options, starting_over
from mxspark.spark.run import preflight as preflight_of_run
from mxspark.spark.run.starting_over import Beginning
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
    return JobDir.acquire(storage, path, OTHER, a_run(), fresh=Fresh(command, {}))


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


def begins(storage: Storage, command: Optional[str], record: JobRecord = OTHER, **options: Any) -> Beginning:
    """Return how a command begins in the job dir; nothing that was trained is kept there, so no network is built."""
    context: Any = None
    return starting_over.decide(context, storage, "/job", Fresh(command, options), record)


def test_a_try_of_the_same_command_goes_on_until_it_has_come_to_its_end(tmp_path: Path) -> None:
    storage = InMemoryStorage()
    finished(storage, "/job", tmp_path)
    assert begins(storage, "dag.task.run").fresh, "it was not begun by that command"
    owned = start_over(storage, "/job", "dag.task.run")
    retry = begins(storage, "dag.task.run")
    assert retry.fresh is None
    assert retry.warnings("/job", None) == [
        "job.fresh: an earlier try of dag.task.run has started over in /job and did not come to its end; this one goes "
        "on from there"
    ]
    assert begins(storage, "dag.task.next_run").fresh
    assert begins(storage, None).fresh, "given again by hand"
    publish_model(owned, stage(tmp_path, 10, kind="model"))
    assert begins(storage, "dag.task.run").fresh, "it has succeeded, and is wanted once more"


@pytest.mark.parametrize(
    ("record", "options", "change"),
    [
        (RECORD, {"rate": 0.1}, "training.seed: was 8, now 7"),
        (OTHER, {"rate": 0.01}, "rate: 0.1 -> 0.01"),
        (OTHER, {"rate": 0.1, "training.epochs": 3}, "training.epochs: not set -> 3"),
        (
            dataclasses.replace(OTHER, data=DataRecord((3, 4), {}, ())),
            {"rate": 0.1},
            "data.rows: was 12, now 7",
        ),
    ],
)
def test_the_same_name_with_other_settings_or_rows_is_no_retry(
    record: JobRecord, options: dict[str, Any], change: str
) -> None:
    storage = InMemoryStorage()
    JobDir.acquire(storage, "/job", OTHER, a_run(), fresh=Fresh("mine", {"rate": 0.1}))
    assert begins(storage, "mine", OTHER, rate=0.1).fresh is None
    other = begins(storage, "mine", record, **options)
    assert other.fresh
    (line,) = other.warnings("/job", "/job/_aside/t000002")
    assert line.startswith("job.fresh: what /job held is set aside as /job/_aside/t000002 (an earlier try of mine had ")
    assert f" begun another job: {change}" in line and line.endswith("); nothing of it is deleted")


def test_a_check_foresees_which_of_both_it_will_be() -> None:
    storage = InMemoryStorage()
    wished = Fresh("mine", {"rate": 0.1})

    def foreseen(wished: Optional[Fresh]) -> str:
        return starting_over.foreseen(storage, "/job", wished, OTHER.settings)

    assert foreseen(wished) == ""
    JobDir.acquire(storage, "/job", OTHER, a_run(), fresh=wished)
    assert foreseen(None) == ""
    assert foreseen(Fresh(None, {})) == "; job.fresh: what it holds will be set aside"
    assert "did not come to its end: with the same rows and network it is gone on with" in foreseen(wished)
    other = foreseen(Fresh("mine", {"rate": 0.2}))
    assert other.endswith("set aside (an earlier try of mine had begun another job: rate: 0.1 -> 0.2)")


def test_what_was_begun_without_a_record_of_its_options_is_no_retry() -> None:
    storage = InMemoryStorage()
    JobDir.acquire(storage, "/job", OTHER, a_run(), fresh=Fresh("mine"))
    assert "what else it said was not recorded" in begins(storage, "mine").why


def test_by_hand_each_time_is_one_of_its_own() -> None:
    storage = InMemoryStorage()
    start_over(storage, "/job")
    assert begins(storage, None).fresh


def test_a_command_is_told_by_all_that_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "of_mine.py").write_text("def loss(output, label): return output\n")
    facts: Any = None

    def said(**sections: Any) -> Any:
        training = {"network": "a:b", "loss": "of_mine:loss", "metrics": ["mae"], **sections.pop("training", {})}
        raw = {"job": {"id": "mine", "fresh": True}, "data": {"features": ["x"], "label": "y"}, "training": training}
        job = JobConfig.from_dict({**raw, **sections})
        wished = starting_over.wish(job, facts, options.of(job))
        assert wished is not None and wished.command == "mine"
        return json.loads(json.dumps(wished.options))

    first = said()
    assert first == said(cluster={"num_workers": 2}, checkpoint={"keep": 1}, failure={"hang_s": 5.0})
    for training in (
        {"optimizer": {"name": "sgd", "learning_rate": 0.1}}, {"epochs": 2}, {"metrics": ["mae", "mse"]},
        {"best_by": {"metric": "loss"}}, {"schedule": {"name": "factor", "step": 3}},
    ):  # fmt: skip
        assert said(training=training) != first
    (tmp_path / "of_mine.py").write_text("def loss(output, label): return -output\n")
    assert said() != first, "the loss is another one"
    changed = "training.loss, the code of of_mine: "
    assert [line.partition(": ")[0] + ": " for line in fixed.changes(first, said())] == [changed]
    (tmp_path / "of_mine.py").write_text("# as before\ndef loss(output, label):\n\n    return output\n")
    assert said() == first, "a comment is no other code"
    (line,) = fixed.changes(first, said(cluster={"environment": {"ALPHA": "1.0", "HF_TOKEN": "secret"}}))
    assert line == "cluster.environment.ALPHA: not set -> 1.0", "a function may read it, and a secret is none of it"


def test_of_another_job_it_is_said_how_to_start_over() -> None:
    storage = InMemoryStorage()
    JobDir.acquire(storage, "/job", RECORD, a_run())
    with pytest.raises(JobDirError, match=r'start over in this one with --fresh \(in Python job={"fresh": True}\)'):
        JobDir.acquire(storage, "/job", OTHER, a_run())


def test_a_job_in_the_folder_that_was_the_default_before_is_pointed_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raw: dict[str, Any] = {
        "data": {"features": {"x": {}}, "label": "y"}, "training": {"network": "a:b", "loss": "l2", "seed": 3},
    }  # fmt: skip
    job = JobConfig.from_dict(raw)
    storage = LocalStorage()

    def told(job: JobConfig) -> list[str]:
        return preflight_of_run._in_earlier_default(job, storage, storage.qualify(job.job_dir))

    assert told(job) == []
    settings = resolve.settings(job)
    seen = dataclasses.replace(settings, features=(dataclasses.replace(settings.features[0], shape=(7,)),))
    JobDir.acquire(storage, "runs/job", JobRecord(seen, RECORD.data), a_run())
    (line,) = told(job)
    assert line == (
        f"file://{tmp_path}/runs/job, where earlier versions kept every job without job.dir, holds this job, and this "
        f"run begins anew in file://{tmp_path}/{job.job_dir}; to go on with what is there stop it and set job.dir: "
        "runs/job"
    )
    assert told(JobConfig.from_dict({**raw, "job": {"dir": "runs/mine"}})) == []
    assert told(JobConfig.from_dict({**raw, "training": {**raw["training"], "seed": 4}})) == [], "another job is there"
    layout.preflight(storage, "runs/job", settings)  # as it is advised
    (tmp_path / "runs/job/_job.json").write_text("{")
    assert told(job) == []
