"""What a task has seen of the rows it spooled, for a file beside them.

A line of JSON with the shapes of the arrays and what is wrong with rows, then a table of numbers, a line an array. So
the driver can take in thousands of partitions of hundreds of arrays without an object for each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from mxspark.data.spool import ColumnSpec, Content, RowProblem, SpooledArray
from mxspark.protocol import codec

Table = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int, ...]

#: Of each column its type, and how those of two parts of the rows become one: a checksum is of one part alone.
_COLUMNS: dict[str, tuple[str, Optional[np.ufunc]]] = {
    "crc32": ("<u4", None),
    "minimum": ("<f8", np.minimum),
    "maximum": ("<f8", np.maximum),
    "has_content": ("?", np.logical_or),
    "content_is_whole": ("?", np.logical_and),
    "content_has_zero": ("?", np.logical_or),
    "low_sum": ("<f8", np.minimum),
    "high_sum": ("<f8", np.maximum),
    "rounded": ("<i8", np.add),
    "has_fractions": ("?", np.logical_or),
    "has_vanished": ("?", np.logical_or),
    "is_whole": ("?", np.logical_and),
}
_LINE = np.dtype([(name, kind) for name, (kind, _) in _COLUMNS.items()])


@dataclass(frozen=True)
class PartFacts:
    """What is known of one spooled partition.

    Attributes
    ----------
    arrays : tuple of SpooledArray
        In the order in which they lie in a row; empty where `problems` is not.
    checksums : tuple of int
        crc32 of the bytes of each array, row after row.
    problems : tuple of RowProblem
        Bad rows by column and kind.
    """

    arrays: tuple[SpooledArray, ...]
    checksums: tuple[int, ...]
    problems: tuple[RowProblem, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        head = {"shapes": [array.shape for array in self.arrays], "problems": codec.encode(self.problems)}
        lines = [_line(array, checksum) for array, checksum in zip(self.arrays, self.checksums)]
        return json.dumps(head).encode() + b"\n" + np.array(lines, dtype=_LINE).tobytes()


def parts(content: bytes) -> tuple[bytes, Table]:
    """Return the two parts of a file: its line for :func:`shapes` or :func:`problems`, and its table."""
    head, _, table = content.partition(b"\n")
    return head, np.frombuffer(table, dtype=_LINE)


def shapes(head: bytes) -> list[Shape]:
    """Return the shapes of the arrays, of a partition without problems."""
    return [tuple(shape) for shape in json.loads(head)["shapes"]]


def problems(head: bytes) -> list[RowProblem]:
    """Return the bad rows by column and kind."""
    return [codec.decode(RowProblem, found) for found in json.loads(head)["problems"]]


def fold(all_rows: Optional[Table], part: Table) -> Table:
    """Return the table of the rows of `all_rows`, which is changed, and of `part`."""
    if all_rows is None:
        return part.copy()
    for name, (_, together) in _COLUMNS.items():
        if together is not None:
            together(all_rows[name], part[name], out=all_rows[name])
    return all_rows


def arrays(specs: Sequence[ColumnSpec], shapes: Sequence[Shape], table: Table) -> tuple[SpooledArray, ...]:
    """Return what a table says of the arrays `specs`, as values."""
    return tuple(
        SpooledArray(
            name=spec.name,
            dtype=str(np.dtype(spec.spooled_dtype)),
            shape=shape,
            minimum=None if math.isinf(line["minimum"]) else float(line["minimum"]),
            maximum=None if math.isinf(line["maximum"]) else float(line["maximum"]),
            content=_content(line),
            rounded=int(line["rounded"]),
            has_fractions=bool(line["has_fractions"]),
            has_vanished=bool(line["has_vanished"]),
            is_whole=bool(line["is_whole"]),
            scale=spec.scale_of_reader,
        )
        for spec, shape, line in zip(specs, shapes, table)
    )


def _line(array: SpooledArray, checksum: int) -> tuple[Any, ...]:
    content = array.content
    low, high = (math.inf, -math.inf) if content is None else content.sums
    return (
        checksum,
        math.inf if array.minimum is None else array.minimum,
        -math.inf if array.maximum is None else array.maximum,
        content is not None,
        content is None or content.is_whole,
        content is not None and content.has_zero,
        low,
        high,
        array.rounded,
        array.has_fractions,
        array.has_vanished,
        array.is_whole,
    )


def _content(line: Any) -> Optional[Content]:
    if not line["has_content"]:
        return None
    sums = (float(line["low_sum"]), float(line["high_sum"]))
    return Content(is_whole=bool(line["content_is_whole"]), has_zero=bool(line["content_has_zero"]), sums=sums)
