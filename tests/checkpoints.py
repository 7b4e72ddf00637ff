"""Checkpoint stores in memory, and what lies in them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Optional

from job_records import RECORD, a_run

from mxspark.jobdir.checkpoints import CheckpointStore, NewestCheckpoint, in_order
from mxspark.jobdir.layout import JobDir
from mxspark.jobdir.ownership import Claim
from mxspark.storage.memory import InMemoryStorage


def a_store(storage: InMemoryStorage, keep: int = 3) -> CheckpointStore:
    """Own the job dir as a next run does that need not wait for what an earlier one may still do."""
    run = a_run()
    return CheckpointStore(
        JobDir.acquire(storage, "/job", RECORD, run, Claim(storage, "/job", run, take_over=True)), keep
    )


def committed(storage: InMemoryStorage) -> list[str]:
    """Return what lies among the checkpoints, newest first, then the rest."""
    names = [entry.name for entry in storage.list("/job/checkpoints")]
    return in_order(names) + [name for name in names if not in_order([name])]


def steps(storage: InMemoryStorage) -> list[int]:
    """Return the committed steps, newest first."""
    return [int(name[1:9]) for name in in_order(committed(storage))]


def newest(store: CheckpointStore, tmp_path: Path) -> Optional[NewestCheckpoint]:
    """Fetch into a folder of its own."""
    return store.newest(Path(tempfile.mkdtemp(dir=tmp_path)))


def holds(found: Optional[NewestCheckpoint], step: int) -> bool:
    """Tell whether a local copy is, byte for byte, what was staged at `step`."""
    assert found is not None
    content = (Path(found.restore.path) / "p.params").read_bytes()
    return found.restore.step == step and content == b"parameters %d" % step * 50
