"""The files of a spool: few for any number of partitions, as one task after the other appends to the same ones."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Optional

from mxspark.errors import ClusterError

ROWS = ".rows"
FACTS = ".facts"


class SpoolFile:
    """A file of rows, and one of facts beside it, whose ends belong to this process until it lets go.

    What a killed task has left there stays, and is named by nobody. A context manager: what was written is taken back
    on an error.

    Parameters
    ----------
    folder : Path
        Where the files are. The first that no other task writes to is taken, so that there are as many of them as tasks
        have run at once.

    Attributes
    ----------
    path : Path
        File of the rows.
    start : int
        Where those of this task begin, in bytes.
    """

    def __init__(self, folder: Path) -> None:
        with _disk(folder):
            self.path, self._descriptor = _claim(folder)
            self._end = os.lseek(self._descriptor, 0, os.SEEK_END)
        self.start = self._end

    def __enter__(self) -> SpoolFile:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        try:
            if error is not None:
                self.give_back()
        finally:
            os.close(self._descriptor)  # and with it the lock

    def begin(self, row_bytes: int) -> None:
        """Start where a row would: the file is a table of rows, whatever a killed task has left."""
        self.start = -(-self._end // row_bytes) * row_bytes
        os.lseek(self._descriptor, self.start, os.SEEK_SET)

    def reserve(self, size: int) -> None:
        """Have the disk allocate the next bytes at once: writing them then takes a third less processor time."""
        with _disk(self.path):
            os.posix_fallocate(self._descriptor, os.lseek(self._descriptor, 0, os.SEEK_CUR), size)

    def write(self, data: memoryview) -> None:
        """Append bytes."""
        with _disk(self.path):
            while len(data):
                data = data[os.write(self._descriptor, data) :]

    def give_back(self) -> None:
        """Take back all that was written; the file is as it was."""
        with contextlib.suppress(OSError):  # it is room on the disk, no more
            os.ftruncate(self._descriptor, self._end)

    def add_facts(self, content: bytes) -> int:
        """Append to the facts, and return where they begin there."""
        path = self.path.with_suffix(FACTS)
        with _disk(path), open(path, "ab", opener=_private) as file:
            file.write(content)
            return file.tell() - len(content)


def _claim(folder: Path) -> tuple[Path, int]:
    """Open the first file that nobody has locked; the kernel takes the lock from a process that is gone."""
    for number in itertools.count():
        path = folder / f"{number:03d}{ROWS}"
        descriptor = _private(str(path), os.O_WRONLY | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return path, descriptor
        except BlockingIOError:
            os.close(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
    raise AssertionError("numbers do not end")


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Turn an error of the local disk into ours; one of the user's data must not be taken for it."""
    try:
        yield
    except OSError as error:
        raise ClusterError(
            f"the spool cannot be written: {error.strerror or error} ({path}); free or enlarge that disk, "
            "or point spark.local.dir (on YARN: yarn.nodemanager.local-dirs) at another one"
        ) from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
