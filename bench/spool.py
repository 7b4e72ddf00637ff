"""How fast are partitions spooled, against an empty ``mapInArrow`` consumer of the same rows in the same run?

    python bench/spool.py [--rows 150000] [--rounds 5] [--array double]
    python bench/spool.py --memory          # RssAnon of the spooling Python with 10 x the rows

784 floats and a label a row, a Parquet file with five uneven partitions, ``local[2]``. The rounds of both alternate;
medians and their ratio are printed, last as one line of JSON. The bar is 0.9.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from mxspark.data import row_problems
from mxspark.data.spool import ColumnSpec, SpoolReady
from mxspark.data.survey import Survey
from mxspark.protocol import codec
from mxspark.spark.spool import stage
from mxspark.spark.spool.task import ANSWER, SpoolTask

WIDTH = 784
SHARES = (0.30, 0.25, 0.20, 0.15, 0.10)
FEATURES = (ColumnSpec("pixels", ("pixels",), (WIDTH,), "float32"),)
LABELS = (ColumnSpec("label", ("label",), (), "int32", classes=10),)


def empty(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Take every batch and do nothing with it."""
    rows = sum(batch.num_rows for batch in batches)
    yield pa.RecordBatch.from_pydict({"rows": [rows]})


def with_memory(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Pass batches on, and write down the highest RssAnon seen at any of them."""
    status = Path("/proc/self/status")
    peak = 0
    for batch in batches:
        yield batch
        found = next(line for line in status.read_text().splitlines() if line.startswith("RssAnon"))
        peak = max(peak, int(found.split()[1]))
    with open(os.environ["BENCH_PEAKS"], "a", encoding="ascii") as file:
        file.write(f"{peak}\n")


def make_parquet(folder: Path, rows: int, kind: str) -> None:
    """Write one file a partition, values in [0, 1)."""
    draw = np.random.default_rng(7)
    dtype = {"float": np.float32, "double": np.float64}[kind]
    for index, share in enumerate(SHARES):
        count = int(rows * share)
        with pq.ParquetWriter(folder / f"part-{index}.parquet", schema(dtype)) as writer:
            for start in range(0, count, 10_000):
                size = min(10_000, count - start)
                flat = pa.array(draw.random(size * WIDTH, dtype=np.float32).astype(dtype))
                pixels = pa.ListArray.from_arrays(np.arange(0, size * WIDTH + 1, WIDTH, dtype=np.int32), flat)
                labels = pa.array(draw.integers(0, 10, size, dtype=np.int32))
                writer.write_table(pa.table([pixels, labels], schema=schema(dtype)))


def schema(dtype: Any) -> pa.Schema:
    """Return the schema of the file."""
    return pa.schema([("pixels", pa.list_(pa.from_numpy_dtype(dtype))), ("label", pa.int32())])


def session(folder: Path) -> SparkSession:
    """Return a quiet ``local[2]`` whose partitions are the files."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    os.environ["BENCH_PEAKS"] = str(folder / "peaks")
    builder = SparkSession.builder.master("local[2]").appName("bench spool").config("spark.ui.enabled", "false")
    for key, value in {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "2g",
        "spark.local.dir": str(folder / "local"),
        "spark.sql.files.maxPartitionBytes": "4g",
        "spark.sql.files.openCostInBytes": "4g",
    }.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def spooled(frame: DataFrame, run_id: str) -> float:
    """Return the seconds one spool takes; its files are removed afterwards."""
    start = time.monotonic()
    ready = stage.spool(frame, FEATURES, LABELS, run_id, "training")
    seconds = time.monotonic() - start
    assert not row_problems.problems(Survey.of(ready, (*FEATURES, *LABELS)), FEATURES, LABELS)
    assert len(ready) == len(SHARES)
    stage.remove(ready, run_id)
    return seconds


def consumed(frame: DataFrame) -> float:
    """Return the seconds the empty consumer takes."""
    start = time.monotonic()
    frame.mapInArrow(empty, "rows long").collect()
    return time.monotonic() - start


def measure_rate(frame: DataFrame, rows: int, rounds: int, kind: str) -> dict[str, Any]:
    """Alternate both and compare the medians."""
    spooled(frame, "warm")
    consumed(frame)
    ours: list[float] = []
    theirs: list[float] = []
    for index in range(rounds):
        pair = [(theirs, lambda: consumed(frame)), (ours, lambda: spooled(frame, f"round{index}"))]  # noqa: B023
        for seconds, run in pair if index % 2 else reversed(pair):
            seconds.append(float(run()))  # type: ignore[no-untyped-call]
    for name, seconds in (("empty consumer", theirs), ("spool", ours)):
        middle = statistics.median(seconds)
        print(f"{name:15s} {middle:6.2f} s  {rows / middle:9,.0f} rows/s  {[round(s, 2) for s in seconds]}")
    ratio = statistics.median(theirs) / statistics.median(ours)
    print(f"by round, medians of the ratios: {statistics.median(a / b for a, b in zip(theirs, ours)):.3f}")
    return {
        "bench": "spool", "array": kind, "rows": rows, "width": WIDTH, "spool_s": statistics.median(ours),
        "empty_s": statistics.median(theirs), "ratio": round(ratio, 3), "bar": 0.9,
    }  # fmt: skip


def measure_memory(spark: SparkSession, folder: Path, rows: int, kind: str) -> dict[str, Any]:
    """Compare the peak RssAnon of a spooling Python over one partition with that over 10 times the rows."""
    # the largest file: the smaller run too must hold two whole Arrow batches (10,000 rows) at once, as a long one does
    peaks = []
    for times in (1, 10):
        frame = spark.read.parquet(*[str(folder / "data" / "part-0.parquet")] * times).coalesce(1)
        task = SpoolTask(FEATURES, LABELS, f"memory{times}", "training")
        (line,) = frame.mapInArrow(watched(task), ANSWER).collect()
        ready = codec.decode(SpoolReady, json.loads(line[0]))
        assert ready.rows == times * int(rows * SHARES[0])
        stage.remove([ready], f"memory{times}")
        peaks.append(int((folder / "peaks").read_text().split()[-1]))
    print(f"RssAnon {peaks[0]:,} kB, with 10 x the rows {peaks[1]:,} kB")
    return {"bench": "spool memory", "rssanon_kb": peaks, "ratio": round(peaks[1] / peaks[0], 3), "bar": 1.05}


def watched(task: SpoolTask) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return the task with its memory written down."""
    return lambda batches: task.arrow(with_memory(batches))


def main() -> None:
    """Run one of the two questions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=150_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--array", choices=("float", "double"), default="float")
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mxspark-bench-") as name:
        folder = Path(name)
        (folder / "data").mkdir()
        make_parquet(folder / "data", options.rows, options.array)
        spark = session(folder)
        try:
            if options.memory:
                result = measure_memory(spark, folder, options.rows, options.array)
            else:
                frame = spark.read.parquet(str(folder / "data"))
                result = measure_rate(frame, options.rows, options.rounds, options.array)
        finally:
            spark.stop()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
