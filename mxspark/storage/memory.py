"""The storage seam in memory, for tests: it fails, or dies, at the n-th write."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional, Union

from mxspark.storage.base import Entry, Storage, failed


class Killed(BaseException):
    """The process that used the storage is gone: nothing it would do next happens."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    Attributes
    ----------
    at : int
        Which write, counted from 1.
    how : str
        ``before`` it took effect, ``after`` it did (the answer was lost), or ``torn`` in the middle.
    kill : bool
        Whether the process dies there; else the storage fails once and is well again.
    """

    at: int
    how: str = "before"
    kill: bool = False


class InMemoryStorage:
    """A tree of files in memory.

    Attributes
    ----------
    fault : Fault or None
        What goes wrong; set it to None and the storage is well, as a next process finds it.
    writes : int
        Writes so far.
    """

    def __init__(self, fault: Optional[Fault] = None) -> None:
        self.fault = fault
        self.writes = 0
        self._tree: dict[str, Optional[bytes]] = {"/": None}
        self._touched: dict[str, int] = {}

    def opener(self) -> Callable[[], Storage]:
        """Return what opens it again, in this process: there is no other way to it."""
        return self._itself

    def _itself(self) -> Storage:
        return self

    def qualify(self, path: str) -> str:
        """Return ``memory://`` and the absolute path."""
        return "memory://" + _plain(path)

    def stat(self, path: str) -> Optional[Entry]:
        """Return what lies at `path`, None if nothing does."""
        self._read()
        plain = _plain(path)
        return self._entry(plain) if plain in self._tree else None

    def list(self, path: str) -> tuple[Entry, ...]:
        """Return what lies in the folder `path`, by name."""
        self._read()
        plain = _plain(path)
        if self._found(plain) is not None:
            raise NotADirectoryError(f"{path} is a file")
        return tuple(self._entry(child) for child in sorted(self._tree) if posixpath.dirname(child) == plain != child)

    def read(self, path: str, limit: int) -> bytes:
        """Return the content of a file of at most `limit` bytes."""
        self._read()
        data = self._content(path)
        if len(data) > limit:
            raise ValueError(f"{path} is longer than {limit} bytes")
        return data

    def create(self, path: str, data: bytes) -> None:
        """Write a new file."""
        plain = self._free(path)
        with self._write(path, lambda: self._tree.update({plain: data[: len(data) // 2]})):
            self._tree[plain] = data

    def touch(self, path: str) -> None:
        """Give a file a modification time that differs from the one it has."""
        self._content(path)
        with self._write(path):
            self._touched[_plain(path)] = self._touched.get(_plain(path), 0) + 1

    def make_folder(self, path: str, parents: bool = False) -> None:
        """Make a folder; one that exists is left as it is."""
        plain = _plain(path)
        above = posixpath.dirname(plain)
        if parents and above not in self._tree:
            self.make_folder(above, parents=True)
        if self._tree.get(plain) is not None:
            raise FileExistsError(f"{path} is a file")
        if plain not in self._tree:
            self._free(path)
        with self._write(path):
            self._tree[plain] = None

    def put(self, local_file: Union[str, Path], path: str) -> None:
        """Copy a local file to the new file `path`."""
        self.create(path, Path(local_file).read_bytes())

    def get(self, path: str, local_file: Union[str, Path]) -> None:
        """Copy the file `path` to the new local file `local_file`."""
        self._read()
        with open(local_file, "xb") as file:
            file.write(self._content(path))

    def rename(self, source: str, target: str) -> None:
        """Move a file or folder in one step, never onto another."""
        plain = _plain(source)
        self._found(plain)
        to = self._free(target)
        with self._write(f"{source} to {target}"):
            for path in self._below(plain):
                self._tree[to + path[len(plain) :]] = self._tree.pop(path)

    def remove(self, path: str, recursive: bool = False) -> None:
        """Remove a file or an empty folder, with `recursive` a folder and all below; nothing there is fine."""
        doomed = self._below(_plain(path))
        if len(doomed) > 1 and not recursive:
            raise failed("remove", path, "the folder is not empty")
        with self._write(path, lambda: self._drop(doomed[: len(doomed) // 2])):
            self._drop(doomed)

    def _drop(self, paths: Sequence[str]) -> None:
        for path in paths:
            del self._tree[path]

    def _below(self, plain: str) -> Sequence[str]:
        """Return the paths of a folder and all below, deepest last names first."""
        return sorted((path for path in self._tree if path == plain or path.startswith(plain + "/")), reverse=True)

    def _entry(self, plain: str) -> Entry:
        data = self._tree[plain]
        return Entry(posixpath.basename(plain), len(data or b""), data is None, self._touched.get(plain, 0))

    def _found(self, plain: str) -> Optional[bytes]:
        if plain not in self._tree:
            raise FileNotFoundError(f"{plain} is not there")
        return self._tree[plain]

    def _content(self, path: str) -> bytes:
        data = self._found(_plain(path))
        if data is None:
            raise FileNotFoundError(f"{path} is a folder")
        return data

    def _free(self, path: str) -> str:
        """Return the plain path of something that can be made: nothing is there, and the folder above is."""
        plain = _plain(path)
        if self._found(posixpath.dirname(plain)) is not None:
            raise NotADirectoryError(f"{posixpath.dirname(path)} is a file")
        if plain in self._tree:
            raise FileExistsError(f"{path} exists")
        return plain

    def _read(self) -> None:
        if self.fault and self.fault.kill and self.writes >= self.fault.at:
            raise Killed

    @contextmanager
    def _write(self, path: str, tear: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Count a write; at the one that fails do it, a part of it or nothing of it."""
        self._read()
        self.writes += 1
        if self.fault is None or self.writes != self.fault.at:
            yield
            return
        if self.fault.how == "after":
            yield
        elif self.fault.how == "torn":
            tear()
        raise Killed if self.fault.kill else failed("write", path, "the storage failed as it was told to")


def _plain(path: str) -> str:
    return posixpath.normpath("/" + path.split("://", 1)[-1].lstrip("/"))
