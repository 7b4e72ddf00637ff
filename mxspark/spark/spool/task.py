"""What runs in the Spark Python worker of a spool stage: one partition in, its files and one line about them out."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark import TaskContext

from mxspark.data.columns import sources
from mxspark.data.rows import ArrowReader, ElementReader, RowBlock
from mxspark.data.spool import ColumnSpec, SpoolReady, run_folder_name
from mxspark.data.spool_file import SpoolFile
from mxspark.data.spool_writer import PartitionWriter
from mxspark.errors import ClusterError
from mxspark.protocol import codec
from mxspark.spark.session import local_folders
from mxspark.topology.identity import host_identity

if TYPE_CHECKING:
    import pyarrow as pa

ANSWER = "ready string"


@dataclass(frozen=True)
class SpoolTask:
    """Spools the partition it is given; its methods are what Spark calls.

    Attributes
    ----------
    features, labels : tuple of ColumnSpec
        Arrays to write.
    run_id : str
        Run that owns the files.
    folder : str
        Name that tells the spools of one run apart: ``training``, ``validation``.
    tells_all : bool
        Whether answers hold what is known of the rows, in place of a file: for a driver on another host.
    """

    features: tuple[ColumnSpec, ...]
    labels: tuple[ColumnSpec, ...]
    run_id: str
    folder: str
    tells_all: bool = False

    def arrow(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """For ``mapInArrow``; the columns are `columns.sources` of the arrays, in that order."""
        import pyarrow as pa

        specs = (*self.features, *self.labels)
        positions = {column: index for index, column in enumerate(sources(specs))}
        ready = self._spool(lambda: map(ArrowReader(specs, positions).read, batches))
        yield pa.RecordBatch.from_pydict({ANSWER.split()[0]: [ready]})

    def elements(self, elements: Iterable[Any]) -> Iterator[str]:
        """For ``mapPartitions``."""
        yield self._spool(lambda: ElementReader(self.features, self.labels).read(elements))

    def _spool(self, read: Callable[[], Iterator[RowBlock]]) -> str:
        context = TaskContext.get()
        assert context is not None
        partition = context.partitionId()
        with SpoolFile(self._make_folder(partition)) as file:
            writer = PartitionWriter(file, self.features, self.labels)
            for batch in read():
                writer.add(batch.cells, batch.rows, batch.bad)
            facts = writer.finish().to_bytes()
            ready = SpoolReady(
                host=host_identity(),
                partition=partition,
                rows=writer.rows,
                path=str(file.path),
                first=writer.first,
                facts=(0, 0) if self.tells_all else (file.add_facts(facts), len(facts)),
                told=base64.b64encode(facts).decode() if self.tells_all else None,
            )
        return json.dumps(codec.encode(ready))

    def _make_folder(self, partition: int) -> Path:
        """Return the folder for a partition, made if need be; partitions go round the local disks."""
        folders = [Path(folder) for folder in local_folders.of_task()]
        tried = []
        for turn in range(len(folders)):
            base = folders[(partition + turn) % len(folders)]
            path = base / run_folder_name(self.run_id)
            try:
                for part in ("", self.folder):
                    path = path / part
                    _own_folder(path)
                return path
            except OSError as error:
                tried.append(f"{path}: {error.strerror or error}")
        raise ClusterError(
            f"no local folder takes the spool ({'; '.join(tried)}); point spark.local.dir "
            "(on YARN: yarn.nodemanager.local-dirs) at a folder with room that can be written"
        )


def _own_folder(path: Path) -> None:
    """Make a folder for this user's eyes only; one that is there must be ours, for the parent may be shared."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise PermissionError(f"{path} exists and is not a private folder of uid {os.getuid()}") from None
