"""Runs of one job as a state machine: commits, faults at any write, take-overs at any write, old owners that wake up.

The storage below may be memory or a real HDFS; what must hold is the same.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional, Union

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from job_records import RECORD, a_run, stage

from mxspark.errors import ClusterError, JobDirError, TakenOver
from mxspark.jobdir import manifest as manifests
from mxspark.jobdir.checkpoints import CheckpointStore, in_order
from mxspark.jobdir.layout import JobDir
from mxspark.jobdir.publish import publish_model, read_model
from mxspark.storage.base import Entry, Storage, failed, join
from mxspark.storage.memory import Fault, Killed


class Faulty:
    """A storage as one process sees it: a write may fail, the process may die at it, or sleep before it."""

    def __init__(self, inner: Storage) -> None:
        self._inner = inner
        self.writes = 0
        self.fault: Optional[Fault] = None
        self.sleeps: tuple[int, Callable[[], None]] = (0, lambda: None)
        self.dead = False

    def opener(self) -> Callable[[], Storage]:
        return self._inner.opener()

    def qualify(self, path: str) -> str:
        return self._inner.qualify(path)

    def stat(self, path: str) -> Optional[Entry]:
        self._alive()
        return self._inner.stat(path)

    def list(self, path: str) -> tuple[Entry, ...]:
        self._alive()
        return self._inner.list(path)

    def read(self, path: str, limit: int) -> bytes:
        self._alive()
        return self._inner.read(path, limit)

    def get(self, path: str, local_file: Union[str, Path]) -> None:
        self._alive()
        self._inner.get(path, local_file)

    def create(self, path: str, data: bytes) -> None:
        with self._write(path, lambda: self._inner.create(path, data[: len(data) // 2])) as whole:
            if whole:
                self._inner.create(path, data)

    def put(self, local_file: Union[str, Path], path: str) -> None:
        self.create(path, Path(local_file).read_bytes())

    def touch(self, path: str) -> None:
        with self._write(path) as whole:
            if whole:
                self._inner.touch(path)

    def make_folder(self, path: str, parents: bool = False) -> None:
        with self._write(path) as whole:
            if whole:
                self._inner.make_folder(path, parents)

    def rename(self, source: str, target: str) -> None:
        with self._write(source) as whole:
            if whole:
                self._inner.rename(source, target)

    def remove(self, path: str, recursive: bool = False) -> None:
        with self._write(path) as whole:
            if whole:
                self._inner.remove(path, recursive)

    def _alive(self) -> None:
        if self.dead:
            raise Killed

    @contextlib.contextmanager
    def _write(self, path: str, tear: Callable[[], None] = lambda: None) -> Iterator[bool]:
        self._alive()
        self.writes += 1
        at, meanwhile = self.sleeps
        if self.writes == at:
            meanwhile()
        if self.fault is None or self.writes != self.fault.at:
            yield True
            return
        fault, self.fault = self.fault, None
        yield fault.how == "after"
        if fault.how == "torn":
            tear()
        self.dead = fault.kill
        raise Killed if fault.kill else failed("write", path, "the storage failed as it was told to")


@dataclass
class Run:
    """One owner, past or present."""

    storage: Faulty
    store: CheckpointStore
    job_dir: JobDir
    step: int
    restored: Optional[str]
    older: set[str] = field(default_factory=set)  # checkpoints of earlier terms when it took over


FAULTS = st.builds(Fault, st.integers(1, 14), st.sampled_from(["before", "after", "torn"]), st.booleans())


class Commits(RuleBasedStateMachine):
    """What any sequence of runs, faults and revivals may do to the checkpoints of a job."""

    def inner(self) -> tuple[Storage, str]:
        """Return the real storage and a path on it where nothing is."""
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.real, self.path = self.inner()
        self.folder = Path(tempfile.mkdtemp(prefix="mxspark-machine-"))
        self.runs: list[Run] = []
        self.certain: list[tuple[int, int]] = []  # commits that were answered
        self.start_run()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    def start_run(self, fault: Optional[Fault] = None) -> None:
        storage = Faulty(self.real)
        storage.fault = fault
        before = set(self.names())
        try:
            job_dir = JobDir.acquire(storage, self.path, RECORD, a_run())
            store = CheckpointStore(job_dir, 2)
            found = store.newest(Path(tempfile.mkdtemp(dir=self.folder)))
        except (Killed, ClusterError):
            # it may have taken a term; then nobody may publish before a next run comes
            self.runs = [run for run in self.runs if not run.storage.dead]
            self.start_run()
            return
        assert found is None or found.warnings == ()
        if self.certain:
            assert found is not None, "a committed checkpoint is lost"
            assert (found.manifest.term, found.manifest.step) >= max(self.certain), "an older one was restored"
        if found is not None:
            content = (Path(found.restore.path) / "p.params").read_bytes()
            assert content == b"parameters %d" % found.restore.step * 50
        step = found.restore.step if found else 0
        self.runs.append(Run(storage, store, job_dir, step, found.name if found else None, before))

    def names(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return in_order([entry.name for entry in self.real.list(join(self.path, "checkpoints"))])
        return []

    def commit(self, run: Run) -> None:
        current = run is self.runs[-1]
        run.step += 1
        staged = stage(self.folder, run.step)
        try:
            run.store.commit(staged)
        except TakenOver:
            assert run is not self.runs[-1], "the owner was told that it is none"
        except JobDirError:
            raise
        except (ClusterError, Killed):
            pass
        else:
            assert current, "an old owner published"
            self.certain.append((run.job_dir.term, run.step))

    @rule(fault=st.one_of(st.none(), FAULTS))
    def a_next_run_starts(self, fault: Optional[Fault]) -> None:
        self.start_run(fault)

    @rule(fault=st.one_of(st.none(), FAULTS))
    @precondition(lambda self: not self.runs[-1].storage.dead)
    def the_owner_commits(self, fault: Optional[Fault]) -> None:
        run = self.runs[-1]
        run.storage.fault = fault and Fault(run.storage.writes + fault.at, fault.how, fault.kill)
        self.commit(run)
        run.storage.fault = None

    @rule(data=st.data())
    def an_old_owner_wakes_up_and_commits(self, data: Any) -> None:
        sleeping = [run for run in self.runs[:-1] if not run.storage.dead]
        if sleeping:
            run = data.draw(st.sampled_from(range(len(sleeping))))
            self.commit(sleeping[run])

    @rule(at=st.integers(1, 12), commits=st.integers(0, 2))
    @precondition(lambda self: not self.runs[-1].storage.dead)
    def the_owner_is_stopped_in_its_commit_and_taken_over(self, at: int, commits: int) -> None:
        run = self.runs[-1]

        def meanwhile() -> None:
            self.start_run()
            for _ in range(commits):
                self.commit(self.runs[-1])

        run.storage.sleeps = (run.storage.writes + at, meanwhile)
        run.step += 1
        staged = stage(self.folder, run.step)
        try:
            run.store.commit(staged)
        except (TakenOver, ClusterError, Killed):
            pass
        else:
            # it was published before it was stopped, or it was not stopped at all; the next owner saw it then
            if run is self.runs[-1]:
                self.certain.append((run.job_dir.term, run.step))
        run.storage.sleeps = (0, lambda: None)

    @rule()
    @precondition(lambda self: not self.runs[-1].storage.dead)
    def the_owner_publishes_its_model(self) -> None:
        run = self.runs[-1]
        publish_model(run.job_dir, stage(self.folder, run.step, kind="model"))
        model = read_model(run.job_dir)
        assert model is not None and model.step == run.step

    @invariant()
    def nothing_is_torn(self) -> None:
        for name in self.names() if hasattr(self, "path") else ():
            found = manifests.fetch(self.real, join(self.path, "checkpoints", name), self.folder / f"x{name}")
            shutil.rmtree(self.folder / f"x{name}")
            assert name == f"s{found.step:08d}-t{found.term:06d}"

    @invariant()
    def earlier_terms_are_closed_and_what_was_restored_stays(self) -> None:
        if not getattr(self, "runs", None):
            return
        owner, names = self.runs[-1], set(self.names())
        earlier = {name for name in names if int(name[-6:]) < owner.job_dir.term}
        assert earlier <= owner.older, "published after the next owner had looked"
        assert owner.restored is None or owner.restored in names, "what the owner restored was deleted"
