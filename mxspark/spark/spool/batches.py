"""How many rows Spark holds at once while they are read: as many wide ones as narrow ones, until the heap is full.

Those that it gives to Python at once are fewer where it is known how wide they are. A batch then stays in the
processor's cache on its way (written by the JVM, copied into a socket and out of it, converted), and the disk has its
first rows while the JVM still reads the next.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Optional

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from mxspark.data.columns import SCALARS, width
from mxspark.data.spool import ColumnSpec
from mxspark.errors import ClusterError
from mxspark.errors.cause import Cause
from mxspark.errors.kinds import KINDS
from mxspark.spark.session import compat

READER = "spark.sql.parquet.columnarReaderBatchSize"
PYTHON = "spark.sql.execution.arrow.maxRecordsPerBatch"

_BATCH_BYTES = 8 << 20  # with 8 bytes a value, which is what the widest type has
_FEWEST_ROWS = 16  # a batch has a cost of its own
_DEFAULT_ROWS = 10_000  # of Spark

#: What is said of a heap that is full: in the error of a task, or of an executor that has ended for it.
_FULL = re.compile(r"java\.lang\.OutOfMemoryError|[Ee]xit(?:ed with)?(?: |: )(?:code|status):? 52\b")
# in the stack of it: who has asked for what was not there
_ASKED = ((r"ColumnVector|vectorized reader", READER), (r"arrow", PYTHON))


def described(spark: SparkSession) -> str:
    """Return what a JVM holds of the rows that are read, with the settings."""
    context = spark.sparkContext
    heap = "spark.driver.memory" if str(context.master).startswith("local") else "spark.executor.memory"
    size = context.getConf().get(heap) or "1g"
    read, given = spark.conf.get(READER), spark.conf.get(PYTHON)
    return (
        f"rows were read {read} at a time ({READER}), however wide they are, and given to Python at most {given} at a "
        f"time ({PYTHON}), with {heap} = {size}"
    )


def out_of_heap(spark: SparkSession, text: str) -> Optional[ClusterError]:
    """Return the error of ours for what Spark says of a failed spool; None if no heap was full."""
    if not _FULL.search(text):
        return None
    asked = next((f"; what asked for more was {key}" for sign, key in _ASKED if re.search(sign, text)), "")
    words = f"a JVM of Spark's ran out of heap (java.lang.OutOfMemoryError) while {described(spark)}{asked}"
    return ClusterError(f"{words}; {KINDS['heap'].remedy}", Cause.here("heap", "spark", words))


def rows_of(specs: Sequence[ColumnSpec], kinds: Mapping[str, str]) -> Optional[int]:
    """Return how many rows make a batch, by the types of the columns; None where only the data tells their width."""
    widths = [_width(spec, kinds) for spec in specs]
    known = [each for each in widths if each is not None]
    return max(_FEWEST_ROWS, _BATCH_BYTES // (8 * max(1, sum(known)))) if len(known) == len(widths) else None


def _width(spec: ColumnSpec, kinds: Mapping[str, str]) -> Optional[int]:
    is_of_scalars = all(kinds.get(column) in SCALARS for column in spec.columns)
    return len(spec.columns) if is_of_scalars else width(spec)


@contextmanager
def at_most(spark: SparkSession, rows: Optional[int]) -> Iterator[None]:
    """Have a session give no more rows at once to Python inside the ``with``; None changes nothing.

    It is one setting of the session: of several who change it at once the last to leave puts back what the first found.
    """
    if rows is None:
        yield
        return
    with _changing:
        bound = _bounds.setdefault(spark._jsparkSession, _Bound(spark.conf.get(PYTHON, None)))
        bound.wanted.append(rows)
        bound.set(spark)
    try:
        yield
    finally:
        # a JVM that is gone has no settings, and what is to be told is how it went
        with _changing, contextlib.suppress(Py4JError, *compat.SPARK_ERRORS, OSError):
            bound.wanted.remove(rows)
            bound.set(spark)
            if not bound.wanted:
                del _bounds[spark._jsparkSession]


class _Bound:
    """What a session is set to, and by whom: `found` is of the user, None where it was not set."""

    def __init__(self, found: Optional[str]) -> None:
        self.found = found
        self.wanted: list[int] = []
        self._given = found

    def set(self, spark: SparkSession) -> None:
        """Set it to the least that is wanted, or back."""
        if spark.conf.get(PYTHON, None) != self._given:
            return  # somebody else has set it meanwhile
        least = min(self.wanted, default=None)
        is_less = least is not None and not 0 < int(self.found or _DEFAULT_ROWS) <= least
        self._given = str(least) if is_less else self.found
        if self._given is None:
            spark.conf.unset(PYTHON)
        else:
            spark.conf.set(PYTHON, self._given)


_bounds: dict[Any, _Bound] = {}  # by session of the JVM
_changing = threading.Lock()
