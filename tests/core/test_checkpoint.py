"""Commit, newest good checkpoint, retention: whatever goes wrong, nothing is torn and nothing committed is lost."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs import RECORD, a_run, stage

from mxspark.checkpoint import CheckpointStore, Found, in_order, name_of
from mxspark.errors import ClusterError, InternalError, JobDirError, MXSparkError
from mxspark.jobdir import JobDir
from mxspark.manifest import MANIFEST, Damaged, Manifest, parse
from mxspark.storage import join
from mxspark.storage_local import LocalStorage
from mxspark.storage_memory import Fault, InMemoryStorage, Killed

TESTS = Path(__file__).resolve().parents[1]


def a_store(storage: InMemoryStorage, keep: int = 3) -> CheckpointStore:
    """Own the job dir as a next run does."""
    return CheckpointStore(JobDir.own(storage, "/job", RECORD, a_run()), keep)


def committed(storage: InMemoryStorage) -> list[str]:
    """Return what lies among the checkpoints, newest first, then the rest."""
    names = [entry.name for entry in storage.list("/job/checkpoints")]
    return in_order(names) + [name for name in names if not in_order([name])]


def steps(storage: InMemoryStorage) -> list[int]:
    """Return the committed steps, newest first."""
    return [int(name[1:9]) for name in committed(storage)]


def newest(store: CheckpointStore, tmp_path: Path) -> Found | None:
    """Fetch into a folder of its own."""
    return store.newest(Path(tempfile.mkdtemp(dir=tmp_path)))


def holds(found: Found | None, step: int) -> bool:
    """Tell whether a local copy is, byte for byte, what was staged at `step`."""
    assert found is not None
    content = (Path(found.restore.path) / "p.params").read_bytes()
    return found.restore.step == step and content == b"parameters %d" % step * 50


def test_commit_and_restore(tmp_path: Path) -> None:
    storage = InMemoryStorage()
    store = a_store(storage)
    assert newest(store, tmp_path) is None
    staged = stage(tmp_path, 1234, world=2)
    done = store.commit(staged)
    assert done.name == "s00001234-t000001"
    assert done.path == "memory:///job/checkpoints/s00001234-t000001"
    assert (done.step, done.bytes) == (1234, sum(file.bytes for file in staged.files))
    assert done.seconds >= 0
    assert not Path(staged.path).exists()
    assert storage.list("/job/_tmp/t000001") == ()
    found = newest(a_store(storage), tmp_path)
    assert holds(found, 1234)
    assert found is not None
    assert (found.restore.epoch, found.restore.step_in_epoch, found.warnings) == (123, 4, ())
    assert found.manifest.meta == {"step_in_epoch": 4, "world": 2}
    assert sorted(os.listdir(found.restore.path)) == ["p.params", "state.json"]


def test_newest_is_by_term_then_step(tmp_path: Path) -> None:
    storage = InMemoryStorage()
    store = a_store(storage)
    for step in (30, 20):
        store.commit(stage(tmp_path, step))
    assert holds(newest(store, tmp_path), 30)
    store = a_store(storage)
    store.commit(stage(tmp_path, 10))
    assert holds(newest(store, tmp_path), 10)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 10**7)), unique=True))
def test_order_of_names(pairs: list[tuple[int, int]]) -> None:
    names = [name_of(step, term) for step, term in pairs]
    ordered = [name_of(step, term) for term, step in sorted(((t, s) for s, t in pairs), reverse=True)]
    assert in_order([*names, "_bad-s00000001-t000001", "LATEST", "s1-t1", "s00000001-t000001.tmp"]) == ordered


def test_what_is_no_checkpoint_is_ignored_and_left(tmp_path: Path) -> None:
    storage = InMemoryStorage()
    store = a_store(storage, keep=1)
    storage.create("/job/checkpoints/LATEST", b"../../elsewhere")
    storage.make_folder("/job/checkpoints/mine")
    assert newest(store, tmp_path) is None
    for step in (1, 2):
        store.commit(stage(tmp_path, step))
    assert committed(storage) == ["s00000002-t000001", "LATEST", "mine"]
    assert holds(newest(store, tmp_path), 2)


def rewrite(storage: InMemoryStorage, path: str, data: bytes | None) -> None:
    """Change a file behind the product's back."""
    storage.remove(path)
    if data is not None:
        storage.create(path, data)


def change_manifest(storage: InMemoryStorage, path: str, **changes: Any) -> None:
    """Change fields of a manifest behind the product's back."""
    content = json.loads(storage.read(join(path, MANIFEST), 1 << 20))
    rewrite(storage, join(path, MANIFEST), json.dumps({**content, **changes}).encode())


def flip(storage: InMemoryStorage, path: str) -> None:
    """Turn one bit over."""
    data = bytearray(storage.read(path, 1 << 20))
    data[len(data) // 2] ^= 1
    rewrite(storage, path, bytes(data))


ESCAPE = {"name": "../../_job.json", "bytes": 2, "sha256": "0" * 64}
DAMAGE: dict[str, tuple[Callable[[InMemoryStorage, str], None], str]] = {
    "bit flip": (lambda s, p: flip(s, p + "/p.params"), "p.params has the sha256"),
    "truncated": (lambda s, p: rewrite(s, p + "/p.params", b"param"), "p.params has 5 bytes where 600 were written"),
    "zero length": (lambda s, p: rewrite(s, p + "/p.params", b""), "p.params has 0 bytes"),
    "missing file": (lambda s, p: rewrite(s, p + "/p.params", None), "p.params is missing"),
    "extra file": (lambda s, p: s.create(p + "/other", b""), "other does not belong there"),
    "folder for a file": (
        lambda s, p: (rewrite(s, p + "/state.json", None), s.make_folder(p + "/state.json"))[-1],
        "state.json is missing",
    ),
    "no manifest": (lambda s, p: rewrite(s, p + "/" + MANIFEST, None), "it has no manifest.json"),
    "empty manifest": (lambda s, p: rewrite(s, p + "/" + MANIFEST, b""), "manifest.json cannot be read"),
    "half a manifest": (lambda s, p: rewrite(s, p + "/" + MANIFEST, b'{"version": 1, "fi'), "cannot be read"),
    "other version": (lambda s, p: change_manifest(s, p, version=2), "version 2 where 1 was expected"),
    "unknown key": (lambda s, p: change_manifest(s, p, color="red"), "unknown keys"),
    "other step": (lambda s, p: change_manifest(s, p, step=99), "its manifest is that of s00000099-t000001"),
    "path escape": (lambda s, p: change_manifest(s, p, files=[ESCAPE]), "is not the name of one file"),
    "absolute path": (
        lambda s, p: change_manifest(s, p, files=[{**ESCAPE, "name": "/etc/passwd"}]),
        "is not the name of one file",
    ),
    "a file": (lambda s, p: (s.remove(p, recursive=True), s.create(p, b""))[-1], "it has no manifest.json"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_checkpoint_is_named_set_aside_and_skipped(kind: str, tmp_path: Path) -> None:
    do_damage, reason = DAMAGE[kind]
    storage = InMemoryStorage()
    store = a_store(storage)
    for step in (50, 60):
        store.commit(stage(tmp_path, step))
    do_damage(storage, "/job/checkpoints/s00000060-t000001")
    into = tmp_path / "into"
    found = a_store(storage).newest(into)
    assert holds(found, 50)
    assert found is not None
    (warning,) = found.warnings
    assert "checkpoint s00000060-t000001 is damaged and set aside" in warning
    assert reason in warning
    assert committed(storage) == ["s00000050-t000001", "_bad-s00000060-t000001"]
    assert os.listdir(into) == ["s00000050-t000001"], "the local copy of the damaged one is left"


@pytest.mark.parametrize("kind", DAMAGE)
def test_none_good_is_an_error_every_time(kind: str, tmp_path: Path) -> None:
    do_damage, reason = DAMAGE[kind]
    storage = InMemoryStorage()
    a_store(storage).commit(stage(tmp_path, 60))
    do_damage(storage, "/job/checkpoints/s00000060-t000001")
    for _ in range(2):
        with pytest.raises(JobDirError) as caught:
            newest(a_store(storage), tmp_path)
        assert "holds checkpoints, but none is good" in str(caught.value)
        assert reason in str(caught.value)
        assert "remove them all to start from the beginning" in str(caught.value)
    storage.rename("/job/checkpoints/s00000060-t000001", "/job/checkpoints/_bad-s00000060-t000001")
    with pytest.raises(JobDirError, match="set aside before"):
        newest(a_store(storage), tmp_path)


def test_storage_that_cannot_be_read_is_not_damage(tmp_path: Path) -> None:
    class Down(InMemoryStorage):
        def get(self, path: str, local_file: str | Path) -> None:
            raise ClusterError("the storage is down")

    storage = Down()
    a_store(storage).commit(stage(tmp_path, 60))
    with pytest.raises(ClusterError, match="the storage is down"):
        newest(a_store(storage), tmp_path)
    assert committed(storage) == ["s00000060-t000001"]


def test_retention_keeps_the_newest_the_best_and_the_restored(tmp_path: Path) -> None:
    storage = InMemoryStorage()
    store = a_store(storage, keep=2)
    for step in (10, 20, 30):
        store.commit(stage(tmp_path, step, best=step == 10))
    assert steps(storage) == [30, 20, 10]
    store.commit(stage(tmp_path, 40, best=True))
    assert steps(storage) == [40, 30]
    for step in (50, 60, 70):
        store.commit(stage(tmp_path, step))
    assert steps(storage) == [70, 60, 40]
    storage.remove("/job/checkpoints/s00000070-t000001/p.params")
    store = a_store(storage, keep=1)
    assert holds(newest(store, tmp_path), 60)
    for step in (65, 75, 85):
        store.commit(stage(tmp_path, step))
    assert steps(storage)[:3] == [85, 60, 40], "the restored one, or the best one of another run, is gone"
    assert "_bad-s00000070-t000001" in committed(storage)
    assert storage.list("/job/_tmp/t000002") == ()


def test_same_step_twice_is_an_error_and_harmless(tmp_path: Path) -> None:
    storage = InMemoryStorage()
    store = a_store(storage)
    store.commit(stage(tmp_path, 10))
    again = stage(tmp_path, 10, {"p.params": b"other"})
    with pytest.raises(JobDirError, match=r"step 10 is committed already by this run, as memory:///job/checkpoints/s"):
        store.commit(again)
    assert Path(again.path).exists()
    assert holds(newest(a_store(storage), tmp_path), 10)
    assert storage.list("/job/_tmp/t000002") == ()


def test_staged_folder_that_is_not_as_told_is_never_published(tmp_path: Path) -> None:
    storage = InMemoryStorage()
    store = a_store(storage)
    short = stage(tmp_path, 10)
    (Path(short.path) / "p.params").write_bytes(b"less")
    with pytest.raises(ClusterError, match="p.params has 4 bytes where 600 were written"):
        store.commit(short)
    gone = stage(tmp_path, 10)
    (Path(gone.path) / "p.params").unlink()
    with pytest.raises(ClusterError, match=r"FileNotFoundError.*p\.params"):
        store.commit(gone)
    outside = stage(tmp_path, 10)
    outside = dataclasses.replace(
        outside, files=(dataclasses.replace(outside.files[0], name="../p.params"), *outside.files[1:])
    )
    with pytest.raises(InternalError, match="cannot be published"):
        store.commit(outside)
    with pytest.raises(InternalError, match="step_in_epoch"):
        store.commit(dataclasses.replace(stage(tmp_path, 10), meta={}))
    assert committed(storage) == []
    assert storage.list("/job/_tmp/t000001") == ()


def test_zombie_cannot_publish_or_delete(tmp_path: Path) -> None:
    """An owner that wakes up after it was taken over, at every write of its commit."""
    probe = InMemoryStorage()
    store = a_store(probe, keep=1)
    store.commit(stage(tmp_path, 10))
    before = probe.writes
    store.commit(stage(tmp_path, 20))
    for at in range(1, probe.writes - before + 1):

        class Slept(InMemoryStorage):
            sleeps_at = 0

            def _write(self, *args: Any) -> Any:
                if self.writes + 1 == self.sleeps_at:
                    self.sleeps_at = 0
                    other = InMemoryStorage()
                    other._tree = self._tree
                    taken.append(newest(a_store(other), tmp_path))
                return super()._write(*args)

        taken: list[Found | None] = []
        storage = Slept()
        zombie = a_store(storage, keep=1)
        zombie.commit(stage(tmp_path, 10))
        storage.sleeps_at = storage.writes + at
        try:
            zombie.commit(stage(tmp_path, 20))
        except JobDirError as error:
            assert "another run owns the job dir" in str(error)
        except FileNotFoundError:
            pytest.fail(f"write {at}: a foreign error crossed the border")
        (found,) = taken
        assert found is not None
        assert found.name in committed(storage), f"write {at}: what the new owner restored was deleted"
        if found.restore.step == 10:
            assert steps(storage) == [10], f"write {at}: published after the new owner had looked"
        assert [entry.name for entry in storage.list("/job/_tmp")] == ["t000002"], f"write {at}: its folder is back"
        with pytest.raises(JobDirError, match="another run owns the job dir"):
            zombie.commit(stage(tmp_path, 30))


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
from jobs import RECORD, a_run, stage
from mxspark.checkpoint import CheckpointStore
from mxspark.jobdir import JobDir
from mxspark.storage_local import LocalStorage
tmp = Path(sys.argv[1])
store = CheckpointStore(JobDir.own(LocalStorage(), str(tmp / "job"), RECORD, a_run()), 2)
found = store.newest(Path(sys.argv[2]))
step = found.restore.step if found else 0
while True:
    step += 1
    store.commit(stage(tmp / "staged", step))
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
        assert child.wait(timeout=30) == -signal.SIGKILL
        store = CheckpointStore(JobDir.own(LocalStorage(), str(tmp_path / "job"), RECORD, a_run()), 2)
        found = newest(store, tmp_path)
        assert found is not None and found.restore.step in (told, told + 1)
        assert holds(found, found.restore.step)
        assert found.warnings == ()


def test_manifest_round_trips_and_refuses_nonsense() -> None:
    manifest = Manifest(1, "checkpoint", "run", 7, 1200, 12, 0, (), {"list": [1, 2.5, None]})
    assert parse(manifest.to_bytes()) == manifest
    for data in (b"", b"null", b"[1]", b'{"version": 1}', b"\xff", b"[" * 10_000, b"{}"):
        with pytest.raises(Damaged, match=r"manifest\.json cannot be read"):
            parse(data)
