"""How fast are partitions spooled, against an empty ``mapInArrow`` consumer of the same rows in the same run?

    python bench/spool.py [--rows 150000] [--rounds 5] [--array double]
    python bench/spool.py --memory          # RssAnon of the spooling Python with 10 x the rows

784 floats and a label a row, a Parquet file with five uneven partitions, ``local[2]``. The rounds of both alternate;
medians and their ratio are printed, last as one line of JSON, with the processor time of Spark's processes: that of a
round is the same however busy the machine is. The bar is 0.92.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from pyspark.sql import DataFrame, SparkSession  # noqa: E402

from mxspark.data import row_problems  # noqa: E402
from mxspark.data.spool import ColumnSpec, SpoolReady  # noqa: E402
from mxspark.data.survey import Survey  # noqa: E402
from mxspark.protocol import codec  # noqa: E402
from mxspark.spark.spool import stage  # noqa: E402
from mxspark.spark.spool.task import ANSWER, SpoolTask  # noqa: E402

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
    os.environ["PYTHONPATH"] = str(ROOT)
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


def processor_time() -> float:
    """Return the seconds that all processes below this one have used: Spark's JVM and its Python."""
    times: dict[int, float] = {}
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            times[int(path.parent.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
            children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    below = list(children.get(os.getpid(), ()))
    for pid in below:
        below += children.get(pid, ())
    return sum(times[pid] for pid in below)


@dataclass(frozen=True)
class Cost:
    """What reading all rows took."""

    seconds: float
    processor_s: float


def cost(run: Callable[[], Any]) -> Cost:
    """Do something, and return what it took."""
    used, start = processor_time(), time.monotonic()
    run()
    return Cost(time.monotonic() - start, processor_time() - used)


def spooled(frame: DataFrame, run_id: str) -> Cost:
    """Return what one spool takes; its files are removed afterwards."""
    ready: list[SpoolReady] = []
    taken = cost(lambda: ready.extend(stage.spool(frame, FEATURES, LABELS, run_id, "training")))
    assert not row_problems.problems(Survey.of(ready, (*FEATURES, *LABELS)), FEATURES, LABELS)
    assert len(ready) == len(SHARES)
    stage.remove(ready, run_id)
    return taken


def consumed(frame: DataFrame) -> Cost:
    """Return what the empty consumer takes."""
    return cost(frame.mapInArrow(empty, "rows long").collect)


def measure_rate(frame: DataFrame, rows: int, rounds: int, kind: str) -> dict[str, Any]:
    """Alternate both and compare the medians."""
    spooled(frame, "warm")
    consumed(frame)
    ours: list[Cost] = []
    theirs: list[Cost] = []
    for index in range(rounds):
        pair = [(theirs, lambda: consumed(frame)), (ours, lambda: spooled(frame, f"round{index}"))]  # noqa: B023
        for costs, run in pair if index % 2 else reversed(pair):
            costs.append(run())  # type: ignore[no-untyped-call]
    ratios = {}
    for what in ("seconds", "processor_s"):
        of_ours, of_theirs = ([getattr(one, what) for one in costs] for costs in (ours, theirs))
        for name, found in (("empty consumer", of_theirs), ("spool", of_ours)):
            middle = statistics.median(found)
            print(
                f"{what:12s} {name:15s} {middle:6.2f} s  {rows / middle:9,.0f} rows/s  {[round(s, 2) for s in found]}"
            )
        ratios[what] = statistics.median(of_theirs) / statistics.median(of_ours)
        by_round = statistics.median(a / b for a, b in zip(of_theirs, of_ours))
        print(f"{what:12s} ratio of the medians {ratios[what]:.3f}, median of the rounds' ratios {by_round:.3f}")
    return {
        "bench": "spool", "array": kind, "rows": rows, "width": WIDTH, "ratio": round(ratios["seconds"], 3),
        "ratio_of_processor_time": round(ratios["processor_s"], 3), "bar": 0.92,
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
