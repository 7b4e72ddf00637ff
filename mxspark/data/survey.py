"""What spooled partitions hold, taken together: one value an array, whatever the number of partitions."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

import numpy as np

from mxspark.data import spool_facts
from mxspark.data.partitions import Partitions
from mxspark.data.spool import ColumnSpec, RowProblem, Spool, SpooledArray, SpoolReady
from mxspark.data.spool_facts import Shape, Table
from mxspark.data.spool_file import FACTS
from mxspark.errors import ClusterError

Matrix = np.ndarray[Any, np.dtype[Any]]

NAMED = 5
"""So many partitions with a problem are told one by one."""


@dataclass(frozen=True)
class Problem:
    """Bad rows of one column and kind, in all partitions.

    Attributes
    ----------
    count : int
        Rows.
    first : RowProblem
        Of the first partition that has some.
    partitions : int
        How many partitions have some.
    named : tuple of (int, int)
        The first of them, each with its rows.
    """

    count: int
    first: RowProblem
    partitions: int
    named: tuple[tuple[int, int], ...]

    def with_(self, partition: int, found: RowProblem) -> Problem:
        """Take in the bad rows of one more partition."""
        named = self.named if len(self.named) >= NAMED else (*self.named, (partition, found.count))
        return Problem(self.count + found.count, self.first, self.partitions + 1, named)


@dataclass(frozen=True)
class SameShape:
    """Partitions whose rows have one shape: how many there are, and the first."""

    partitions: int
    first: int


@dataclass(frozen=True, eq=False)
class Survey:
    """All that is known of the rows of a data set once they are spooled.

    Attributes
    ----------
    ready : tuple of SpoolReady
        In order of partition ids.
    arrays : tuple of SpooledArray
        Over all rows, in the order in which they lie in a row.
    shapes : dict
        Of each array the shapes that its rows have.
    problems : tuple of Problem
        Bad rows; of such data nothing else holds.
    checksums : numpy uint32, shape (partitions, arrays)
        Of each array in each partition.
    """

    ready: tuple[SpoolReady, ...]
    arrays: tuple[SpooledArray, ...]
    shapes: Mapping[str, Mapping[Shape, SameShape]]
    problems: tuple[Problem, ...]
    checksums: Matrix

    @classmethod
    def of(cls, ready: Sequence[SpoolReady], specs: Sequence[ColumnSpec]) -> Survey:
        """Read what the tasks that spooled `specs` have written beside the rows, on this host.

        Raises
        ------
        ClusterError
            If it is not there.
        """
        reading = _Reading()
        for part in sorted(ready, key=lambda part: part.partition):
            reading.take(part)
        return reading.survey(specs)

    @property
    def rows(self) -> int:
        """Number of rows in all."""
        return sum(part.rows for part in self.ready)

    def settled(self, specs: Sequence[ColumnSpec]) -> tuple[ColumnSpec, ...]:
        """Return the specs with every shape filled in from rows in which `row_problems` has found none."""
        shapes = {array.name: array.shape for array in self.arrays}
        return tuple(spec if spec.shape is not None else replace(spec, shape=shapes[spec.name]) for spec in specs)

    def spool(self, table: Path) -> Spool:
        """Return what workers are told, and write what they read of the partitions to the file `table`."""
        partitions = Partitions.of(self.ready)
        partitions.write(table)
        return Spool(self.rows, self.arrays, partitions.files, str(table))


class _Reading:
    """Partition after partition, of which only what all have together is kept."""

    def __init__(self) -> None:
        self._ready: list[SpoolReady] = []
        self._table: Optional[Table] = None
        self._heads: dict[bytes, SameShape] = {}
        self._problems: dict[tuple[str, str], Problem] = {}
        self._checksums: list[Matrix] = []

    def take(self, part: SpoolReady) -> None:
        self._ready.append(part)
        head, table = _read(part)
        self._checksums.append(table["crc32"].copy())  # of all else in the file no partition's own is kept
        if not len(table):
            self._complain(part.partition, spool_facts.problems(head))
        elif part.rows:
            seen = self._heads.get(head, SameShape(0, part.partition))
            self._heads[head] = SameShape(seen.partitions + 1, seen.first)
            self._table = spool_facts.fold(self._table, table)

    def _complain(self, partition: int, found: Iterable[RowProblem]) -> None:
        for problem in found:
            key = (problem.column, problem.kind)
            seen = self._problems.get(key, Problem(0, problem, 0, ()))
            self._problems[key] = seen.with_(partition, problem)

    def survey(self, specs: Sequence[ColumnSpec]) -> Survey:
        shapes: dict[str, dict[Shape, SameShape]] = {spec.name: {} for spec in specs}
        for head, same in self._heads.items():
            for spec, shape in zip(specs, spool_facts.shapes(head)):
                seen = shapes[spec.name].get(shape, SameShape(0, same.first))
                shapes[spec.name][shape] = SameShape(seen.partitions + same.partitions, seen.first)
        first = [next(iter(shapes[spec.name]), (0,)) for spec in specs]
        return Survey(
            ready=tuple(self._ready),
            arrays=() if self._table is None else spool_facts.arrays(specs, first, self._table),
            shapes=shapes,
            problems=tuple(self._problems.values()),
            checksums=np.array([] if self._problems else self._checksums, dtype=np.uint32).reshape(-1, len(specs)),
        )


def _read(part: SpoolReady) -> tuple[bytes, Table]:
    if part.told is not None:
        return spool_facts.parts(base64.b64decode(part.told))
    path = Path(part.path).with_suffix(FACTS)
    start, size = part.facts
    try:
        with path.open("rb") as file:
            file.seek(start)
            return spool_facts.parts(file.read(size))
    except OSError as error:
        raise ClusterError(
            f"what was spooled of partition {part.partition} cannot be read: {path}: {error.strerror}. It lies in "
            "Spark's local dirs until the run ends; check that nothing cleans those folders (spark.local.dir)"
        ) from error
