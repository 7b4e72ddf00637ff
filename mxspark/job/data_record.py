"""What the rows of a job are, as its record has it: enough to tell other rows, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

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


def other_rows(key: str, before: Optional[DataRecord], now: Optional[DataRecord]) -> list[str]:
    """Return in a line how the rows under a key of the job differ from those of before; nothing where they do not.

    >>> other_rows("data", DataRecord((3, 4), {}, ()), DataRecord((3, 5), {}, ()))
    ['data.rows: was 7, now 8']
    """
    if before == now:
        return []
    if before is None or now is None or sum(before.rows) != sum(now.rows):
        return [f"{key}.rows: was {_total(before)}, now {_total(now)}"]
    if before.rows != now.rows:
        # what tells values does so by partition: of rows in other ones nothing is known
        return [f"{key}.rows: as many, cut into other partitions"]
    names = [name for name, sums in now.checksums.items() if before.checksums.get(name, sums) != sums]
    if not names:  # other columns, which the settings tell
        return []
    places = [place for place, pair in enumerate(zip(before.partitions, now.partitions)) if pair[0] != pair[1]]
    where = f" in {len(places)} of {len(now.rows)} partitions, first in number {places[0]}" if len(now.rows) > 1 else ""
    are = "column {} are" if len(names) == 1 else "columns {} are"
    return [f"{key}: the values of {are.format(', '.join(names))} others, or in another order{where}"]


def _total(record: Optional[DataRecord]) -> str:
    return "none" if record is None else str(sum(record.rows))


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
