"""What the rows of a job are, as its record has it: enough to tell other rows, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mxspark.data.checksums import of_arrays, of_partitions
from mxspark.data.survey import Survey


@dataclass(frozen=True)
class DataRecord:
    """The rows of a job, known once they are spooled.

    Attributes
    ----------
    rows : tuple of int
        Rows of each partition.
    checksums : dict
        Name of the array → what its values in all partitions are told by.
    partitions : tuple of int
        What the values of all arrays in each partition are told by.
    """

    rows: tuple[int, ...]
    checksums: dict[str, str]
    partitions: tuple[int, ...]

    @classmethod
    def of(cls, survey: Survey) -> DataRecord:
        """Describe spooled rows."""
        names = [array.name for array in survey.arrays]
        rows = tuple(part.rows for part in survey.ready)
        return cls(rows, of_arrays(names, survey.checksums), of_partitions(names, survey.checksums))


def from_version_2(data: Any) -> Any:
    """Return what a record says of rows, of one that had a checksum for each array of each partition.

    Raises
    ------
    ValueError
        If it did not.
    """
    try:
        names, checksums = list(data["checksums"]), list(zip(*data["checksums"].values()))
        rows: Sequence[int] = data["rows"]
        return {
            "rows": rows,
            "checksums": of_arrays(names, checksums),
            "partitions": of_partitions(names, checksums),
        }
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"version 2 without {error}") from error
