"""Does memory grow with the data? Peak anonymous memory of Spark's Python workers and ours, 1 and 10 times the rows.

    python bench/memory.py [--json FILE]

Anonymous (RssAnon) because mapped spool pages are page cache, which the kernel takes back. Bar: 1.05 times.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
os.environ.setdefault("PYSPARK_PYTHON", sys.executable)

import numpy as np  # noqa: E402
import psutil  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

import mxspark  # noqa: E402

ROWS, WIDTH, TIMES, BAR = 600_000, 16, 10, 1.05  # more rows than two windows of the plan have


def network():
    """Return a small network, so that data is what could grow."""
    from mxnet.gluon import nn

    net = nn.HybridSequential()
    net.add(nn.Dense(64, activation="relu"), nn.Dense(10))
    return net


class Peaks(threading.Thread):
    """Samples the largest RssAnon of any process of each kind."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes: dict[str, int] = {}
        self._told = threading.Event()

    def run(self) -> None:
        """Sample until told to stop."""
        while not self._told.wait(0.05):
            for child in psutil.Process().children(recursive=True):
                try:
                    kind = kind_of(child)
                    if kind:
                        self.bytes[kind] = max(self.bytes.get(kind, 0), anonymous_bytes(child.pid))
                except (psutil.Error, OSError):
                    continue

    def finish(self) -> dict[str, int]:
        """Stop and return the peaks in bytes."""
        self._told.set()
        self.join()
        return self.bytes


def kind_of(process: psutil.Process) -> str:
    """Return ``task``, ``worker``, ``server``, ``scheduler``, or nothing."""
    words = " ".join(process.cmdline())
    if "pyspark.daemon" in words:
        return "task"
    return process.environ().get("DMLC_ROLE", "")


def anonymous_bytes(pid: int) -> int:
    """Return RssAnon."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def peaks_with(times: int) -> dict[str, int]:
    """Train one epoch on `times` times the rows in a session of its own."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "rows").mkdir()
        for part in range(2 * times):
            values = np.random.default_rng(part).random((ROWS // 2, WIDTH), dtype=np.float32)
            matrix = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), WIDTH).cast(pa.list_(pa.float32()))
            table = pa.table({"x": matrix, "y": pa.array(np.arange(len(values)) % 10, pa.int32())})
            pq.write_table(table, Path(name) / "rows" / f"{part}.parquet")
        builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
        builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.ui.showConsoleProgress", "false")
        # two partitions whatever the size: it is the partition that grows
        builder = builder.config("spark.sql.files.maxPartitionBytes", str(1 << 40))
        spark = builder.config("spark.sql.files.minPartitionNum", "2").getOrCreate()
        peaks = Peaks()
        peaks.start()
        mxspark.train(
            spark.read.parquet(str(Path(name) / "rows")).coalesce(2),
            job={"name": "memory", "dir": str(Path(name) / "job")},
            data={"features": {"x": {"shape": [WIDTH]}}, "label": {"y": {"dtype": "int32"}}},
            cluster={"num_workers": 2},
            training={"network": network, "loss": "softmax_cross_entropy", "epochs": 1, "batch_size": 512},
            report={"progress": "off"},
        )
        found = peaks.finish()
        spark.stop()
        return found


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json")
    given = options.parse_args()
    once, many = peaks_with(1), peaks_with(TIMES)
    ratios = {kind: many[kind] / once[kind] for kind in once}
    for kind, ratio in sorted(ratios.items()):
        print(f"{kind:10s} {once[kind] / 2**20:7.1f} MB -> {many[kind] / 2**20:7.1f} MB, rows x{TIMES}: {ratio:.3f}")
    print(f"bar {BAR}, for task and worker")
    figures = {"question": "memory", "ratios": ratios, "bytes": [once, many], "bar": BAR}
    print(json.dumps(figures))
    if given.json:
        Path(given.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
