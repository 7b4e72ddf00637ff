"""``_fixed.json``: what the first run that kept something fixes for all later ones, beside the job's record.

The network's graph is known only once a worker has built it, long after the record was written; and records of older
jobs have none. It is written before anything else is published, so what a job dir keeps is of the network it names.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Optional

from mxspark.errors import JobDirError, MXSparkError
from mxspark.job import fixed
from mxspark.job.fixed import Fixed
from mxspark.jobdir import record_file
from mxspark.jobdir.layout import JobDir
from mxspark.jobdir.publish import explain
from mxspark.jobdir.record_file import FIXED
from mxspark.storage.base import Storage, join

_LIMIT_BYTES = 64 << 20


def read(storage: Storage, path: str) -> Optional[Fixed]:
    """Return what is fixed in the job dir `path`, None where nothing is yet.

    Raises
    ------
    JobDirError
        If that cannot be read.
    """
    try:
        return Fixed.from_bytes(storage.read(join(path, FIXED), _LIMIT_BYTES))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        if isinstance(error, MXSparkError):
            raise
        raise JobDirError(
            f"{path}/{FIXED} cannot be read ({error}): it is damaged or of another version of mxspark; set job.dir to "
            "a new folder"
        ) from error


def compare(storage: Storage, path: str, loss: Mapping[str, Any]) -> None:
    """Raise JobDirError if the options of the loss are not those that the job dir `path` holds, if it holds any."""
    before = read(storage, path)
    if before is not None:
        record_file.refuse(storage, path, fixed.changes(before.loss, loss))


def settle(job_dir: JobDir, ours: Fixed) -> None:
    """Write what this run fixes, unless an earlier one has.

    Raises
    ------
    JobDirError
        If that one has fixed something else.
    """
    try:
        there = read(job_dir.storage, job_dir.path) or _write(job_dir, ours)
    except (OSError, MXSparkError) as error:
        raise explain(job_dir, error, "write", join(job_dir.path, FIXED)) from error
    other = fixed.other_graph(there.graph, ours.graph) if there is not None else None
    if other is not None:
        raise JobDirError(fixed.refusal("of this run", other))


def _write(job_dir: JobDir, ours: Fixed) -> Optional[Fixed]:
    """Return what is there afterwards: another run may have been quicker."""
    storage = job_dir.storage
    # by way of our own folder, as all that is published: it is gone if another run took over
    draft = join(job_dir.tmp, f"fixed-{uuid.uuid4().hex}")
    storage.create(draft, ours.to_bytes())
    try:
        storage.rename(draft, join(job_dir.path, FIXED))
    except FileExistsError:
        storage.remove(draft)
    return read(storage, job_dir.path)
