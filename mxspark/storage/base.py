"""Where a job dir lies: one small seam over local disk, Hadoop's filesystems and memory.

A commit needs three promises of a filesystem: a file is created only where none is, a folder is renamed in one step and
never onto another, and a rename out of a folder that is gone fails. :class:`Storage` is these promises and what little
else the checkpoint protocol takes; `tests/storage_contract.py` holds every implementation to them.

``FileExistsError``, ``FileNotFoundError`` and ``NotADirectoryError`` are answers a caller acts on. All other failures
become ours here: :class:`~mxspark.errors.JobDirError` where the user can mend it (rights, room, scheme),
:class:`~mxspark.errors.ClusterError` where the storage failed and may heal.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Optional, Protocol, Union

from mxspark.errors import ClusterError, JobDirError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")


class NoRoom(JobDirError):
    """A full disk or a quota: the user can mend it, also while the run goes on."""


class Gone(ClusterError):
    """The storage cannot be reached any more by this process, ever: the driver's JVM has ended."""


class CorruptFile(ClusterError):
    """The storage itself finds that no copy of a file holds what was written."""


@dataclass(frozen=True)
class Entry:
    """A file or folder: its last name, its size (0 for a folder) and which of the two it is.

    `changed` is its modification time in a unit of the storage: good for telling that it is another one than before.
    """

    name: str
    bytes: int
    is_folder: bool
    changed: int = field(default=0, compare=False)


class Storage(Protocol):
    """A filesystem that can hold a job dir. Paths are plain or qualified strings with ``/`` between the parts."""

    def opener(self) -> Callable[[], Storage]:
        """Return what opens this filesystem again, later and elsewhere: it holds nothing open and can be pickled."""

    def qualify(self, path: str) -> str:
        """Return the absolute URI of `path`; the same folder gives the same text in every run."""

    def stat(self, path: str) -> Optional[Entry]:
        """Return what lies at `path`, None if nothing does."""

    def list(self, path: str) -> tuple[Entry, ...]:
        """Return what lies in the folder `path`, by name.

        Raises
        ------
        FileNotFoundError
            If nothing is there.
        NotADirectoryError
            If it is a file.
        """

    def read(self, path: str, limit: int) -> bytes:
        """Return the content of a file of at most `limit` bytes.

        Raises
        ------
        ValueError
            If it is longer.
        FileNotFoundError
            If it is not there, or is a folder.
        """

    def create(self, path: str, data: bytes) -> None:
        """Write a new file. A failure in the middle may leave a part of it.

        Raises
        ------
        FileExistsError
            If something is there; of any number of callers at once exactly one gets through.
        FileNotFoundError
            If its folder is not there; it is not made.
        """

    def touch(self, path: str) -> None:
        """Give a file a modification time that differs from the one it has.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        """

    def make_folder(self, path: str, parents: bool = False) -> None:
        """Make a folder; one that exists is left as it is.

        Raises
        ------
        FileExistsError
            If a file is there.
        FileNotFoundError
            If the folder above is not there, unless `parents` makes it.
        """

    def put(self, local_file: Union[str, Path], path: str) -> None:
        """Copy a local file to the new file `path`; raises as :meth:`create` does."""

    def get(self, path: str, local_file: Union[str, Path]) -> None:
        """Copy the file `path` to the new local file `local_file`.

        Raises
        ------
        CorruptFile
            If the storage has checksums of its own and they do not hold.
        FileNotFoundError
            If it is not there, or is a folder.
        """

    def rename(self, source: str, target: str) -> None:
        """Move a file or folder in one step, never onto another.

        Raises
        ------
        FileExistsError
            If something is at `target`, be it an empty folder.
        FileNotFoundError
            If `source` or the folder above `target` is not there.
        """

    def remove(self, path: str, recursive: bool = False) -> None:
        """Remove a file or an empty folder, with `recursive` a folder and all below; nothing there is fine."""


def join(path: str, *names: str) -> str:
    """Return the path of `names` below `path`."""
    return posixpath.join(path, *names)


def scheme_of(path: str) -> Optional[str]:
    """Return the lower-case scheme of a URI, None for a plain path.

    >>> scheme_of("hdfs://host/jobs"), scheme_of("runs/digits")
    ('hdfs', None)
    """
    match = _SCHEME.match(path)
    return match.group(1).lower() if match else None


def denied(doing: str, path: str, user: str, detail: str) -> JobDirError:
    """Build the error of missing rights."""
    return JobDirError(
        f"user {user!r} may not {doing} {path} ({detail}); give that user write access, or set job.dir to a folder "
        "it can write to"
    )


def no_room(doing: str, path: str, detail: str) -> NoRoom:
    """Build the error of a full disk or a quota."""
    return NoRoom(
        f"no room to {doing} {path} ({detail}); free space, raise the quota, lower checkpoint.keep or set job.dir to "
        "another place"
    )


def failed(doing: str, path: str, detail: str) -> ClusterError:
    """Build the error of a storage that did not do what it can."""
    return ClusterError(
        f"could not {doing} {path}: {detail}; start the job again once the storage is well: it goes on from its "
        "newest checkpoint"
    )
