"""Records, runs and staged folders for tests of the job dir."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any, Optional

from mxspark.data import checksums
from mxspark.data.spool import ColumnSpec
from mxspark.job.data_record import DataRecord
from mxspark.job.record import JobRecord, JobSettings, RunInfo
from mxspark.protocol.events import Staged
from mxspark.protocol.staged import StagedFile

SETTINGS = JobSettings(
    training={"loop": "gluon", "network": "nets:lenet", "loss": "softmax_cross_entropy", "optimizer": "adam"},
    batch_size=128,
    seed=7,
    features=(ColumnSpec("pixels", ("pixels",), (1, 8, 8), "float32", 0.0625),),
    labels=(ColumnSpec("digit", ("digit",), (), "int32"),),
    validation_fraction=0.2,
    shuffle=True,
    block_rows=8192,
    window_blocks=128,
)
#: Of each array in each partition.
CHECKSUMS = {"pixels": (11, 12, 13), "digit": (21, 22, 23)}


def data_record(rows: tuple[int, ...], by_array: dict[str, tuple[int, ...]]) -> DataRecord:
    """Return what a record says of such rows."""
    names, numbers = list(by_array), list(zip(*by_array.values()))
    return DataRecord(rows, checksums.of_arrays(names, numbers), checksums.of_partitions(names, numbers))


RECORD = JobRecord(SETTINGS, data_record((3, 4, 5), CHECKSUMS))
_numbers = itertools.count(1)


def a_run(job_id: str = "job", lease_s: float = 30.0) -> RunInfo:
    """Return a run that is like no other, of one job unless told otherwise."""
    return RunInfo(f"run{next(_numbers)}", job_id, "ann", "here", 123, "2024-01-02T03:04:05+00:00", lease_s)


def stage(
    folder: Path, step: int, content: Optional[dict[str, bytes]] = None, kind: str = "checkpoint", **meta: Any
) -> Staged:
    """Write a staged folder as a worker does."""
    content = {"p.params": b"parameters %d" % step * 50, "state.json": b"{}"} if content is None else content
    path = folder / f"staged{next(_numbers)}"
    path.mkdir(parents=True)
    for name, data in content.items():
        (path / name).write_bytes(data)
    files = tuple(StagedFile(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in content.items())
    return Staged(kind, str(path), step, step // 10, files, {"step_in_epoch": step % 10, **meta})
