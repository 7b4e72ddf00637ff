"""Whatever goes wrong in a commit, nothing is torn and nothing committed is lost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoints import a_store, committed, holds, newest, steps
from job_records import RECORD, a_run, stage

from mxspark.errors import ClusterError, JobDirError, MXSparkError
from mxspark.jobdir.checkpoints import CheckpointStore, NewestCheckpoint
from mxspark.jobdir.layout import JobDir
from mxspark.storage.local import LocalStorage
from mxspark.storage.memory import Fault, InMemoryStorage, Killed

TESTS = Path(__file__).resolve().parents[1]


class Sleeping(InMemoryStorage):
    """The storage as seen by an owner that is stopped right before a write, while a new owner takes over."""

    def __init__(self, tmp_path: Path) -> None:
        super().__init__()
        self.sleep_at = 0
        self.found: NewestCheckpoint | None = None
        self._tmp_path = tmp_path

    def create(self, path: str, data: bytes) -> None:
        self._sleep()
        super().create(path, data)

    def make_folder(self, path: str, parents: bool = False) -> None:
        self._sleep()
        super().make_folder(path, parents)

    def rename(self, source: str, target: str) -> None:
        self._sleep()
        super().rename(source, target)

    def remove(self, path: str, recursive: bool = False) -> None:
        self._sleep()
        super().remove(path, recursive)

    def _sleep(self) -> None:
        if self.writes + 1 == self.sleep_at:
            self.sleep_at = 0
            other = InMemoryStorage()
            other._tree = self._tree
            self.found = newest(a_store(other), self._tmp_path)


def test_zombie_cannot_publish_or_delete(tmp_path: Path) -> None:
    """An owner that wakes up after it was taken over, at every write of its commit."""
    probe = InMemoryStorage()
    store = a_store(probe, keep=1)
    store.commit(stage(tmp_path, 10))
    before = probe.writes
    store.commit(stage(tmp_path, 20))
    refused = 0
    for at in range(1, probe.writes - before + 1):
        storage = Sleeping(tmp_path)
        zombie = a_store(storage, keep=1)
        zombie.commit(stage(tmp_path, 10))
        storage.sleep_at = storage.writes + at
        try:
            zombie.commit(stage(tmp_path, 20))
        except JobDirError as error:
            assert "another run owns the job dir" in str(error)
            refused += 1
        found = storage.found
        assert found is not None
        assert found.name in committed(storage), f"write {at}: what the new owner restored was deleted"
        if found.restore.step == 10:
            assert steps(storage) == [10], f"write {at}: published after the new owner had looked"
        assert [entry.name for entry in storage.list("/job/_tmp")] == ["t000002"], f"write {at}: its folder is back"
        with pytest.raises(JobDirError, match="another run owns the job dir"):
            zombie.commit(stage(tmp_path, 30))
    assert refused >= 5


def commit_faults(tmp_path: Path) -> list[Fault]:
    """Return every fault that can befall the commit of step 40 with retention."""
    storage = InMemoryStorage()
    store = a_store(storage, keep=2)
    for step in (10, 20, 30):
        store.commit(stage(tmp_path, step))
    before = storage.writes
    store.commit(stage(tmp_path, 40))
    assert storage.writes - before >= 7
    return [
        Fault(at, how, kill)
        for at in range(before + 1, storage.writes + 1)
        for how in ("before", "after", "torn")
        for kill in (True, False)
    ]


def test_whatever_goes_wrong_in_a_commit_the_newest_good_one_loads_and_the_next_run_goes_on(tmp_path: Path) -> None:
    for fault in commit_faults(tmp_path):
        storage = InMemoryStorage()
        store = a_store(storage, keep=2)
        for step in (10, 20, 30):
            store.commit(stage(tmp_path, step))
        storage.fault = fault
        staged = stage(tmp_path, 40)
        try:
            store.commit(staged)
            told = 40
        except (ClusterError, Killed):
            told = 30
            assert fault.kill or Path(staged.path).exists(), fault
        storage.fault = None
        if told == 30 and not fault.kill:
            assert store.commit(staged).step == 40, f"{fault}: trying again did not work"
            told = 40
        store = a_store(storage, keep=2)
        found = newest(store, tmp_path)
        assert found is not None and found.restore.step >= told, fault
        assert holds(found, found.restore.step), fault
        assert found.warnings == (), fault
        for step in (50, 60, 70):
            store.commit(stage(tmp_path, step))
        assert steps(storage) == [70, 60, found.restore.step], fault
        assert [entry.name for entry in storage.list("/job/_tmp")] == ["t000002"], fault
        assert storage.list("/job/_tmp/t000002") == (), fault


def test_any_chain_of_faults_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    """Runs one after the other, each with a fault at a random write, from its first to its last act."""
    for seed in range(60):
        draw = random.Random(seed)
        storage = InMemoryStorage()
        last = 0
        for _ in range(6):
            how = draw.choice(["before", "after", "torn"])
            storage.fault = Fault(storage.writes + draw.randint(1, 60), how, kill=draw.random() < 0.6)
            try:
                store = a_store(storage, keep=draw.randint(1, 3))
                found = newest(store, tmp_path)
                step = found.restore.step if found else 0
                assert step >= last and (found is None or holds(found, step)), f"seed {seed}"
                for _ in range(draw.randint(1, 4)):
                    step += draw.randint(1, 5)
                    last = store.commit(stage(tmp_path, step)).step
            except (MXSparkError, Killed):
                pass
        storage.fault = None
        found = newest(a_store(storage), tmp_path)
        assert (found.restore.step if found else 0) >= last, f"seed {seed}"


def test_commit_killed_on_a_real_disk_is_whole_or_not_there(tmp_path: Path) -> None:
    """A process that commits without end, killed with SIGKILL at a random moment, again and again."""
    program = """
import sys
from pathlib import Path
from job_records import RECORD, a_run, stage
from mxspark.jobdir.checkpoints import CheckpointStore
from mxspark.jobdir.layout import JobDir
from mxspark.storage.local import LocalStorage
tmp = Path(sys.argv[1])
store = CheckpointStore(JobDir.acquire(LocalStorage(), str(tmp / "job"), RECORD, a_run()), 2)
found = store.newest(Path(sys.argv[2]))
step = found.restore.step if found else 0
while True:
    step += 1
    store.commit(stage(Path(sys.argv[2] + "staged"), step))
    print(step, flush=True)
"""
    told = 0
    draw = random.Random(7)
    for number in range(8):
        command = [sys.executable, "-c", f"import sys; sys.path.append({str(TESTS)!r})\n{program}", str(tmp_path)]
        child = subprocess.Popen([*command, str(tmp_path / f"into{number}")], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _ in range(draw.randint(1, 25)):
            told = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        told = int((["0", *child.stdout.read().split()])[-1]) or told
        child.stdout.close()
        assert child.wait(timeout=300) == -signal.SIGKILL
        store = CheckpointStore(JobDir.acquire(LocalStorage(), str(tmp_path / "job"), RECORD, a_run()), 2)
        found = newest(store, tmp_path)
        assert found is not None and found.restore.step in (told, told + 1)
        assert holds(found, found.restore.step)
        assert found.warnings == ()
