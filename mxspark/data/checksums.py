"""What tells spooled rows from others: a number for each array of each partition, and what is kept of them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from typing import Any, Union

import numpy as np

#: numpy uint32, shape (partitions, arrays), or the same as lists.
Checksums = Union[np.ndarray[Any, np.dtype[Any]], Sequence[Sequence[int]]]


def of_arrays(names: Sequence[str], checksums: Checksums) -> dict[str, str]:
    """Return for each array what tells its values in all partitions from others."""
    by_array = _numbers(names, checksums).T
    return {name: hashlib.sha256(numbers.tobytes()).hexdigest()[:16] for name, numbers in zip(names, by_array)}


def of_partitions(names: Sequence[str], checksums: Checksums) -> tuple[int, ...]:
    """Return for each partition what tells the values of its arrays from others, in whatever order these are."""
    order = sorted(range(len(names)), key=lambda place: names[place])
    return tuple(zlib.crc32(numbers.tobytes()) for numbers in _numbers(names, checksums)[:, order])


def _numbers(names: Sequence[str], checksums: Checksums) -> np.ndarray[Any, np.dtype[Any]]:
    return np.asarray(checksums, dtype="<u4").reshape(-1, len(names)) if names else np.empty((0, 0), "<u4")
