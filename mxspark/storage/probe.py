"""Whether a filesystem can hold a job dir: tried once, on nothing, before anything else is done."""

from __future__ import annotations

import uuid

from mxspark.errors import JobDirError
from mxspark.storage.base import Storage, join


def make(storage: Storage, path: str) -> None:
    """Make the job dir `path` unless it is there."""
    try:
        storage.make_folder(path, parents=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise JobDirError(
            f"job.dir {path} is a file, or lies below one; set job.dir to a folder, which may not exist yet"
        ) from error
    except FileNotFoundError as error:  # of the kernel's own filesystems, such as /proc
        raise JobDirError(f"job.dir {path} cannot be made where it is; set job.dir to another folder") from error


def probe(storage: Storage, path: str) -> None:
    """Do once, in the folder `path`, all that a commit will do."""
    storage.make_folder(path)
    draft = join(path, f"probe-{uuid.uuid4().hex}")
    target = draft + "-target"
    storage.make_folder(draft)
    try:
        storage.create(join(draft, "file"), b"probe")
        _probe_times(storage, draft)
        storage.make_folder(target)
        try:
            storage.rename(draft, target)
        except FileExistsError:
            storage.remove(target)
            storage.rename(draft, target)
        else:
            raise JobDirError(
                f"the filesystem of {path} renames a folder onto another, so that two runs could mix their "
                "checkpoints; set job.dir to a folder on hdfs:// or a local disk"
            )
    finally:
        for folder in (draft, target):
            storage.remove(folder, recursive=True)


def _probe_times(storage: Storage, draft: str) -> None:
    (before,) = storage.list(draft)
    storage.touch(join(draft, "file"))
    (after,) = storage.list(draft)
    if before.changed == after.changed:
        raise JobDirError(
            f"the filesystem of {draft} keeps no modification times, by which other runs see that this one lives; set "
            "job.dir to a folder on hdfs:// or a local disk"
        )
