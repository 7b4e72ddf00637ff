"""Commit, newest good checkpoint, damage, retention."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, Callable

import pytest
from checkpoints import a_store, committed, holds, newest, steps
from hypothesis import given
from hypothesis import strategies as st
from job_records import stage

from mxspark.errors import ClusterError, InternalError, JobDirError
from mxspark.jobdir.checkpoints import in_order, name_of
from mxspark.jobdir.manifest import MANIFEST, Damaged, Manifest, parse
from mxspark.storage.base import join
from mxspark.storage.memory import InMemoryStorage


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


def to_folder(storage: InMemoryStorage, path: str) -> None:
    """Put a folder where a file was."""
    storage.remove(path)
    storage.make_folder(path)


def to_file(storage: InMemoryStorage, path: str) -> None:
    """Put a file where a folder was."""
    storage.remove(path, recursive=True)
    storage.create(path, b"")


ESCAPE = {"name": "../../_job.json", "bytes": 2, "sha256": "0" * 64}
DAMAGE: dict[str, tuple[Callable[[InMemoryStorage, str], None], str]] = {
    "bit flip": (lambda s, p: flip(s, p + "/p.params"), "p.params has the sha256"),
    "truncated": (lambda s, p: rewrite(s, p + "/p.params", b"param"), "p.params has 5 bytes where 650 were written"),
    "zero length": (lambda s, p: rewrite(s, p + "/p.params", b""), "p.params has 0 bytes"),
    "missing file": (lambda s, p: rewrite(s, p + "/p.params", None), "p.params is missing"),
    "extra file": (lambda s, p: s.create(p + "/other", b""), "other does not belong there"),
    "folder for a file": (lambda s, p: to_folder(s, p + "/state.json"), "state.json is missing"),
    "folder for the manifest": (lambda s, p: to_folder(s, p + "/" + MANIFEST), "it has no manifest.json"),
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
    "a file": (lambda s, p: to_file(s, p), "it has no manifest.json"),
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
    """An epoch is ten steps here; step 10 ends epoch 0."""
    storage = InMemoryStorage()
    store = a_store(storage, keep=2)
    store.commit(stage(tmp_path, 5, best={"value": None, "epoch": None}))
    for step in (10, 15, 20, 30):
        store.commit(stage(tmp_path, step, best={"value": 0.5, "epoch": 0}))
    assert steps(storage) == [30, 20, 10]
    store.commit(stage(tmp_path, 40, best={"value": 0.4, "epoch": 3}))
    assert steps(storage) == [40, 30]
    for step in (41, 50, 60, 70):
        store.commit(stage(tmp_path, step, best={"value": 0.4, "epoch": 3}))
    assert steps(storage) == [70, 60, 40]
    storage.remove("/job/checkpoints/s00000070-t000001/p.params")
    store = a_store(storage, keep=1)
    assert holds(newest(store, tmp_path), 60)
    for step in (65, 75, 85):
        store.commit(stage(tmp_path, step))
    assert steps(storage) == [85, 60, 40], "the restored one, or the best one of another run, is gone"
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
    with pytest.raises(ClusterError, match=r"p\.params has 4 bytes where 650 were written"):
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


def test_manifest_round_trips_and_refuses_nonsense() -> None:
    manifest = Manifest(1, "checkpoint", "run", 7, 1200, 12, 0, (), {"list": [1, 2.5, None]})
    assert parse(manifest.to_bytes()) == manifest
    for data in (b"", b"null", b"[1]", b'{"version": 1}', b"\xff", b"[" * 10_000, b"{}"):
        with pytest.raises(Damaged, match=r"manifest\.json cannot be read"):
            parse(data)
