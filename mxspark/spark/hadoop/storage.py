"""The storage seam over the driver JVM's Hadoop: HDFS and whatever else it has a filesystem for.

Everything goes through ``FileContext``: its rename raises where ``FileSystem.rename`` returns false or moves a folder
into the one it should not replace. File contents never pass through Python; the JVM copies them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError
from pyspark.errors.exceptions.captured import CapturedException

from mxspark.errors import ClusterError, JobDirError
from mxspark.storage.base import CorruptFile, Entry, Gone, denied, failed, no_room, scheme_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_COPY_BYTES = 1 << 20
_CLOSING = {
    ("dfs.client.block.write.locateFollowingBlock.initial.delay.ms", "400"): "25",
    ("dfs.client.block.write.locateFollowingBlock.retries", "5"): "9",
}
_FILESYSTEM = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(//[^/]*)?(?=/|$)")
# a file another client is just writing is there too, but HDFS answers with its lease
_EXISTS = ("FileAlreadyExistsException", "AlreadyBeingCreatedException", "RecoveryInProgressException")
_MISSING = ("FileNotFoundException", "NoSuchFileException")
_NOT_A_FOLDER = ("ParentNotDirectoryException", "PathIsNotDirectoryException")
_DENIED = ("AccessControlException", "AccessDeniedException")
_NO_ROOM = ("QuotaExceededException", "DSQuotaExceededException", "NSQuotaExceededException", "DiskOutOfSpaceException")
_NO_SCHEME = ("UnsupportedFileSystemException",)
_SAFE_MODE = ("SafeModeException",)
_CORRUPT = ("ChecksumException",)


def of_this_process() -> HadoopStorage:
    """Return the storage of the session that this process has now, whichever that is.

    Raises
    ------
    ClusterError
        If it has none.
    """
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    if SparkContext._active_spark_context is None:
        raise ClusterError(
            "there is no Spark session in this process to reach Hadoop's filesystem through; make one with "
            "SparkSession.builder.getOrCreate(), or copy the folder yourself: hdfs dfs -get"
        )
    return HadoopStorage(SparkSession.builder.getOrCreate())


class HadoopStorage:
    """A Hadoop filesystem, reached as Spark itself reaches it: its configuration, user and Kerberos ticket.

    Parameters
    ----------
    spark : SparkSession
        A classic session; its driver's JVM does the work.
    """

    def __init__(self, spark: SparkSession) -> None:
        jvm: Any = spark._jvm
        gateway: Any = spark.sparkContext._gateway
        self._jvm, self._hadoop = jvm, jvm.org.apache.hadoop.fs
        self._configuration: Any = _hasty(jvm.org.apache.hadoop.conf.Configuration(spark._jsc.hadoopConfiguration()))
        self._contexts: dict[str, Any] = {}
        self._user = str(jvm.org.apache.hadoop.security.UserGroupInformation.getCurrentUser().getShortUserName())
        self._no_overwrite = gateway.new_array(self._hadoop.Options.Rename, 1)
        self._no_overwrite[0] = self._hadoop.Options.Rename.NONE
        self._no_parent = gateway.new_array(self._hadoop.Options.CreateOpts, 1)
        self._no_parent[0] = self._hadoop.Options.CreateOpts.donotCreateParent()
        self._create = jvm.java.util.EnumSet.of(self._hadoop.CreateFlag.CREATE)

    def opener(self) -> Callable[[], HadoopStorage]:
        """Return what opens it again through the session there will be then; this one's may have ended."""
        return of_this_process

    def qualify(self, path: str) -> str:
        """Return the absolute URI of `path`; a relative one starts at the user's home."""
        with self._border("open", path):
            uri = self._at(path).makeQualified(self._hadoop.Path(path)).toUri()
            return f"{uri.getScheme()}://{uri.getAuthority() or ''}{uri.getPath()}"

    def stat(self, path: str) -> Optional[Entry]:
        """Return what lies at `path`, None if nothing does."""
        with self._border("look at", path):
            try:
                return _entry(self._at(path).getFileStatus(self._hadoop.Path(path)))
            except Py4JJavaError as error:
                if _name(error) in (*_MISSING, *_NOT_A_FOLDER) or _is_below_file(error):
                    return None
                raise

    def list(self, path: str) -> tuple[Entry, ...]:
        """Return what lies in the folder `path`, by name."""
        with self._border("list", path):
            place, context = self._hadoop.Path(path), self._at(path)
            if not context.getFileStatus(place).isDirectory():
                raise NotADirectoryError(f"{path} is a file")
            entries = [_entry(status) for status in context.util().listStatus(place)]
        return tuple(sorted(entries, key=lambda entry: entry.name))

    def read(self, path: str, limit: int) -> bytes:
        """Return the content of a file of at most `limit` bytes."""
        with self._border("read", path):
            stream = self._at(path).open(self._hadoop.Path(path))
            try:
                data = bytes(stream.readNBytes(limit + 1))
            finally:
                stream.close()
        if len(data) > limit:
            raise ValueError(f"{path} is longer than {limit} bytes")
        return data

    def create(self, path: str, data: bytes) -> None:
        """Write a new file."""
        with self._border("create", path):
            stream = self._open_new(path)
            try:
                stream.write(bytearray(data))
            finally:
                stream.close()

    def touch(self, path: str) -> None:
        """Give a file a modification time that differs from the one it has."""
        with self._border("touch", path):
            place, context = self._hadoop.Path(path), self._at(path)
            before = int(context.getFileStatus(place).getModificationTime())
            context.setTimes(place, max(time.time_ns() // 1_000_000, before + 1), -1)

    def make_folder(self, path: str, parents: bool = False) -> None:
        """Make a folder; one that exists is left as it is."""
        try:
            with self._border("make", path):
                rights = self._hadoop.permission.FsPermission.getDirDefault()
                self._at(path).mkdir(self._hadoop.Path(path), rights, parents)
        except FileExistsError:
            entry = self.stat(path)
            if entry is None or not entry.is_folder:
                raise

    def put(self, local_file: Union[str, Path], path: str) -> None:
        """Copy a local file to the new file `path`."""
        with self._border("write", path):
            source = self._jvm.java.io.FileInputStream(str(local_file))
            try:
                self._copy(source, self._open_new(path))
            finally:
                source.close()

    def get(self, path: str, local_file: Union[str, Path]) -> None:
        """Copy the file `path` to the new local file `local_file`."""
        with self._border("read", path):
            source = self._at(path).open(self._hadoop.Path(path))
            try:
                self._copy(source, self._jvm.java.io.FileOutputStream(str(local_file)))
            finally:
                source.close()

    def rename(self, source: str, target: str) -> None:
        """Move a file or folder in one step, never onto another."""
        try:
            with self._border("rename", f"{source} to {target}"):
                self._at(source).rename(self._hadoop.Path(source), self._hadoop.Path(target), self._no_overwrite)
        except ClusterError as error:
            # of a folder to an existing file Hadoop says only that both must be folders
            if self.stat(target) is not None and self.stat(source) is not None:
                raise FileExistsError(f"{target} exists") from error
            raise

    def remove(self, path: str, recursive: bool = False) -> None:
        """Remove a file or an empty folder, with `recursive` a folder and all below; nothing there is fine."""
        with self._border("remove", path):
            try:
                self._at(path).delete(self._hadoop.Path(path), recursive)
            except Py4JJavaError as error:
                if _name(error) not in _MISSING:
                    raise

    def _at(self, path: str) -> Any:
        """Return the context whose default filesystem holds `path`: it opens any other one anew at every call."""
        match = _FILESYSTEM.match(path)
        name = match.group() if match else ""
        if name not in self._contexts:
            context = self._hadoop.FileContext
            self._contexts[name] = (
                context.getFileContext(self._hadoop.Path(name + "/").toUri(), self._configuration)
                if name
                else context.getFileContext(self._configuration)
            )
        return self._contexts[name]

    def _open_new(self, path: str) -> Any:
        return self._at(path).create(self._hadoop.Path(path), self._create, self._no_parent)

    def _copy(self, source: Any, target: Any) -> None:
        try:
            self._jvm.org.apache.hadoop.io.IOUtils.copyBytes(source, target, _COPY_BYTES, False)
        finally:
            target.close()

    @contextmanager
    def _border(self, doing: str, path: str) -> Iterator[None]:
        """Turn what Hadoop says into one of our errors, save for the answers a caller acts on."""
        try:
            yield
        except Py4JJavaError as error:
            raise self._explain(_name(error), _text(error), doing, path) from error
        except (Py4JNetworkError, ConnectionError) as error:
            raise Gone(
                f"could not {doing} {path}: the driver's JVM is gone ({error}); start the same command again"
            ) from error
        except (CapturedException, Py4JError) as error:
            raise failed(doing, path, str(error).strip().splitlines()[0]) from error

    def _explain(self, name: str, text: str, doing: str, path: str) -> Exception:
        if name in _EXISTS:
            return FileExistsError(f"{path} exists")
        if name in _MISSING:
            return FileNotFoundError(f"{path} is not there, or the folder above")
        if name in _NOT_A_FOLDER:
            return NotADirectoryError(f"{path} is a file, or lies below one")
        if name in _DENIED:
            return denied(doing, path, self._user, text)
        if name in _NO_ROOM:
            return no_room(doing, path, text)
        if name in _NO_SCHEME:
            return JobDirError(
                f"No FileSystem for scheme {scheme_of(path)!r} ({path}); set job.dir to a folder on hdfs:// or a local "
                "disk, or put that filesystem's jar and configuration where Spark finds them"
            )
        if name in _CORRUPT:
            return CorruptFile(
                f"no copy of {path} is whole: {text}; see hdfs fsck, and restore it from another cluster"
            )
        if name in _SAFE_MODE:
            return failed(doing, path, f"HDFS is in safe mode, in which nothing can be written: {text}")
        return failed(doing, path, f"{name}: {text}")


def _hasty(configuration: Any) -> Any:
    """Have closing a file ask again after 25 ms rather than 400 ms whether its last block has arrived, as long in all.

    The NameNode often hears of a block a moment after its writer has written it; every small file then took 0.4 s.
    """
    for (name, usual), value in _CLOSING.items():
        if configuration.get(name) in (None, usual):
            configuration.set(name, value)
    return configuration


def _entry(status: Any) -> Entry:
    is_folder, changed = bool(status.isDirectory()), int(status.getModificationTime())
    return Entry(str(status.getPath().getName()), 0 if is_folder else int(status.getLen()), is_folder, changed)


def _name(error: Py4JJavaError) -> str:
    """Return the last name of the Java exception's class; of one that came over the wire, that of the server's."""
    thrown = error.java_exception
    name = str(thrown.getClass().getName())
    if name.endswith(".RemoteException"):
        name = str(thrown.getClassName())
    return name.rpartition(".")[2]


def _text(error: Py4JJavaError) -> str:
    return (str(error.java_exception.getMessage() or "").strip().splitlines() or ["no message"])[0]


def _is_below_file(error: Py4JJavaError) -> bool:
    # asked for something below a file, HDFS answers "Permission denied: … is not a directory"
    return "is not a directory" in _text(error)
