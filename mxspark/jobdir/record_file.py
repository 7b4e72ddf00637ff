"""``_job.json``, the record of a job in its job dir: read, compared, and written once."""

from __future__ import annotations

import uuid
from typing import Optional

from mxspark.errors import InternalError, JobDirError, MXSparkError
from mxspark.job import record as records
from mxspark.job.record import Fresh, JobRecord, differences
from mxspark.storage.base import Storage, join

MODELS = ("model", "model-best")
TMP = "_tmp"
RECORD = "_job.json"
FIXED = "_fixed.json"
CHECKPOINTS = "checkpoints"
_LIMIT_BYTES = 64 << 20


def read(storage: Storage, path: str) -> Optional[JobRecord]:
    """Return the record of the job that owns the job dir `path`, None if no run has begun there.

    Raises
    ------
    JobDirError
        If there is one that cannot be read.
    """
    try:
        return JobRecord.from_bytes(storage.read(join(path, RECORD), _LIMIT_BYTES))
    except FileNotFoundError as error:
        entry = storage.stat(join(path, RECORD))
        if entry is not None and entry.is_folder:
            raise _unreadable(path, "it is a folder") from error
        return None  # though another run may just have made one
    except (ValueError, RecursionError) as error:
        if isinstance(error, MXSparkError):
            raise
        raise _unreadable(path, error) from error


def read_begun(storage: Storage, path: str) -> Optional[Fresh]:
    """Return which command started over in the job dir `path`; None if none has, or nothing names it."""
    try:
        return records.begun(storage.read(join(path, RECORD), _LIMIT_BYTES))
    except (FileNotFoundError, ValueError):
        return None


def _unreadable(path: str, why: object) -> JobDirError:
    return JobDirError(
        f"{path}/{RECORD} cannot be read ({why}): it is damaged or of another version of mxspark; set job.dir to a "
        "new folder"
    )


def settle(
    storage: Storage,
    path: str,
    record: JobRecord,
    job_id: str,
    fresh: Optional[Fresh] = None,
    *,
    drafts: Optional[str] = None,
) -> None:
    """Write the job's record if there is none, else compare.

    Parameters
    ----------
    job_id : str
        Of the run that writes it.
    fresh : Fresh or None
        The command that starts over with it.
    drafts : str, optional
        The folder to write it in first.

    Raises
    ------
    JobDirError
        If the one that is there differs.
    """
    if read(storage, path) is None:
        # drafted elsewhere, so that nobody ever sees half a record
        draft = join(drafts or join(path, TMP), f"record-{uuid.uuid4().hex}")
        storage.create(draft, record.to_bytes(job_id, fresh))
        try:
            storage.rename(draft, join(path, RECORD))
        except FileExistsError:
            storage.remove(draft)
    recorded = read(storage, path)
    if recorded is None:
        raise InternalError(f"{path}/{RECORD} was written and is not there")
    lines = differences(recorded.settings, record.settings)
    refuse(storage, path, lines + records.other_data(recorded, record))


def refuse(storage: Storage, path: str, lines: list[str]) -> None:
    """Raise JobDirError if there is a line of what differs from the job that `path` belongs to."""
    if lines:
        names = {entry.name for entry in storage.list(path)}
        kept = names & set(MODELS) or (CHECKPOINTS in names and storage.list(join(path, CHECKPOINTS)))
        also = "" if kept else "; nothing is kept in it yet: unless a run is at work there, it may be removed"
        raise JobDirError(
            f"job.dir {path} belongs to a job that differs from this one:\n"
            + "".join(f"  - {line}\n" for line in lines)
            + "set job.dir to another folder to start afresh, or start over in this one with --fresh "
            '(in Python job={"fresh": True}), or give these their old values to go on' + also
        )
