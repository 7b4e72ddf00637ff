"""The storage seam over a local disk."""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Optional, Union

from mxspark.errors import JobDirError, MXSparkError
from mxspark.storage.base import Entry, denied, failed, no_room, scheme_of

_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
_COPY_BYTES = 1 << 20


class LocalStorage:
    """A local disk: ``O_EXCL``, ``fsync`` and ``renameat2(RENAME_NOREPLACE)``.

    Hadoop's own local filesystem checks first and writes then, which two runs at once can slip through.
    """

    def opener(self) -> Callable[[], LocalStorage]:
        """Return what opens it again: every process has its own way to a local disk."""
        return LocalStorage

    def qualify(self, path: str) -> str:
        """Return ``file://`` and the absolute path; a relative one starts at the working directory."""
        return "file://" + os.path.abspath(_local(path))

    def stat(self, path: str) -> Optional[Entry]:
        """Return what lies at `path`, None if nothing does."""
        with border("look at", path):
            try:
                return _entry(Path(_local(path)))
            except (FileNotFoundError, NotADirectoryError):
                return None

    def list(self, path: str) -> tuple[Entry, ...]:
        """Return what lies in the folder `path`, by name."""
        with border("list", path):
            found = (_entry_if_there(child) for child in sorted(Path(_local(path)).iterdir()))
            return tuple(entry for entry in found if entry is not None)

    def read(self, path: str, limit: int) -> bytes:
        """Return the content of a file of at most `limit` bytes."""
        with border("read", path), open(_local(path), "rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ValueError(f"{path} is longer than {limit} bytes")
        return data

    def create(self, path: str, data: bytes) -> None:
        """Write a new file, down to the disk."""
        with border("create", path), open(_local(path), "xb") as file:
            file.write(data)
            _flush(file.fileno(), file.flush)

    def touch(self, path: str) -> None:
        """Give a file a modification time that differs from the one it has."""
        with border("touch", path):
            before = os.stat(_local(path))
            os.utime(_local(path), ns=(before.st_atime_ns, max(time.time_ns(), before.st_mtime_ns + 1)))

    def make_folder(self, path: str, parents: bool = False) -> None:
        """Make a folder; one that exists is left as it is."""
        with border("make", path):
            Path(_local(path)).mkdir(parents=parents, exist_ok=True)

    def put(self, local_file: Union[str, Path], path: str) -> None:
        """Copy a local file to the new file `path`, down to the disk."""
        with border("write", path), open(local_file, "rb") as source, open(_local(path), "xb") as target:
            shutil.copyfileobj(source, target, _COPY_BYTES)
            _flush(target.fileno(), target.flush)

    def get(self, path: str, local_file: Union[str, Path]) -> None:
        """Copy the file `path` to the new local file `local_file`."""
        with border("read", path), open(_local(path), "rb") as source, open(local_file, "xb") as target:
            shutil.copyfileobj(source, target, _COPY_BYTES)

    def rename(self, source: str, target: str) -> None:
        """Move a file or folder in one step, never onto another, and put the move on the disk."""
        from_path, to_path = _local(source), _local(target)
        with border("rename", f"{source} to {target}"):
            if os.path.isdir(from_path):
                _flush_folder(from_path)
            _rename_no_replace(from_path, to_path)
            _flush_folder(os.path.dirname(to_path))

    def remove(self, path: str, recursive: bool = False) -> None:
        """Remove a file or an empty folder, with `recursive` a folder and all below; nothing there is fine."""
        target = _local(path)
        with border("remove", path):
            try:
                if not os.path.isdir(target) or os.path.islink(target):
                    os.unlink(target)
                elif recursive:
                    shutil.rmtree(target)
                else:
                    os.rmdir(target)
            except FileNotFoundError:
                return


def _local(path: str) -> str:
    if scheme_of(path) is None:
        return path
    found = re.match(r"(?i)file:(?://(?=/))?(/(?!/).*)$", path)
    if not found:
        raise JobDirError(f"{path} names no local path; write it as file:///absolute/path")
    return found.group(1)


def _entry_if_there(path: Path) -> Optional[Entry]:
    """Return the entry of a file or folder, None if another run moved it away since it was listed."""
    try:
        return _entry(path)
    except FileNotFoundError:
        return None


def _entry(path: Path) -> Entry:
    is_folder, found = path.is_dir(), path.stat()
    return Entry(path.name, 0 if is_folder else found.st_size, is_folder, found.st_mtime_ns)


def _flush(descriptor: int, flush: Callable[[], None]) -> None:
    flush()
    os.fsync(descriptor)


def _flush_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename_no_replace(source: str, target: str) -> None:
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), source)
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), source, None, target)


@contextmanager
def border(doing: str, path: str) -> Iterator[None]:
    """Turn what the operating system says into one of our errors, save for the answers a caller acts on."""
    try:
        yield
    except (FileExistsError, FileNotFoundError, NotADirectoryError):
        raise
    except IsADirectoryError as error:
        raise FileNotFoundError(error.errno, "no file, but a folder is there", path) from error
    except OSError as error:
        raise _explain(error, doing, path) from error


def _explain(error: OSError, doing: str, path: str) -> MXSparkError:
    detail = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return denied(doing, path, _user(), detail)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return no_room(doing, path, detail)
    if error.errno == errno.ENAMETOOLONG:
        return JobDirError(f"could not {doing} {path}: {detail}; set job.dir, or a shorter job.name")
    if doing == "rename" and error.errno in (errno.EINVAL, errno.ENOSYS):
        return JobDirError(
            f"could not rename {path}: this filesystem or C library cannot rename without overwriting "
            f"(renameat2 RENAME_NOREPLACE: {detail}), which is what keeps two runs apart; set job.dir to a folder on a "
            "local disk such as ext4 or xfs, or on hdfs://"
        )
    return failed(doing, path, detail)


def _user() -> str:
    """Return the name of the user this process runs as, its number if it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
