"""How long from the call of `mxspark.train` to the end of the first step, in a warm session, by phase?

    python bench/start.py [--calls 5] [--master local[2]] [--json FILE]

20,000 rows of 784 float32, two workers, a network of 1.86 M parameters. Bar on local[2]: 2.5 s.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
os.environ.setdefault("PYSPARK_PYTHON", sys.executable)

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

import mxspark  # noqa: E402
from mxspark.protocol.events import Beat, Formed, Joined, Loaded, Started  # noqa: E402

ROWS, WIDTH, BAR_S = 20_000, 784, 2.5
MARKS = {"agents": Joined, "import": Loaded, "form": Formed, "ready": Started}


def mlp():
    """Return 784-1024-1024-10, 1.86 M parameters."""
    from mxnet.gluon import nn

    net = nn.HybridSequential()
    net.add(nn.Dense(1024, activation="relu"), nn.Dense(1024, activation="relu"), nn.Dense(10))
    return net


def write_rows(folder: Path) -> None:
    """Write two uneven Parquet files."""
    values = np.random.default_rng(0).random((ROWS, WIDTH), dtype=np.float32)
    for name, part in (("a", slice(0, 9_000)), ("b", slice(9_000, ROWS))):
        matrix = pa.FixedSizeListArray.from_arrays(pa.array(values[part].ravel()), WIDTH).cast(pa.list_(pa.float32()))
        digits = pa.array(np.arange(len(values[part])) % 10, pa.int32())
        pq.write_table(pa.table({"x": matrix, "y": digits}), folder / f"{name}.parquet")


def one_call(frame, folder: Path) -> dict[str, float]:
    """Train one epoch and return seconds since the call at which each mark was passed by the last worker."""
    passed: dict[str, float] = {}
    began = time.perf_counter()

    def take(reported) -> None:
        now = time.perf_counter() - began
        for name, kind in MARKS.items():
            if isinstance(reported.event, kind):
                passed[name] = now
        if isinstance(reported.event, Beat) and reported.event.step >= 1:
            passed.setdefault("first step", now)

    result = mxspark.train(
        frame,
        job={"name": "start", "dir": str(folder)},
        data={"features": {"x": {"shape": [WIDTH]}}, "label": {"y": {"dtype": "int32"}}},
        cluster={"num_workers": 2},
        training={"network": mlp, "loss": "softmax_cross_entropy", "optimizer": {"name": "sgd", "learning_rate": 0.01}},
        checkpoint={"every_epochs": None},
        report={"progress": "off"},
        on_event=take,
    )
    spooled = result.seconds["check"] + result.seconds["spool"]
    return {"check": result.seconds["check"], "spool": spooled, **passed, "whole job": time.perf_counter() - began}


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calls", type=int, default=5)
    options.add_argument("--master", default="local[2]")
    options.add_argument("--json")
    given = options.parse_args()
    builder = SparkSession.builder.master(given.master).config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.ui.showConsoleProgress", "false")
    spark = builder.config("spark.executorEnv.PYTHONPATH", os.environ["PYTHONPATH"]).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rows").mkdir()
        write_rows(folder / "rows")
        frame = spark.read.parquet(str(folder / "rows"))
        one_call(frame, folder / "warm")
        calls = [one_call(frame, folder / f"job{number}") for number in range(given.calls)]
    medians = {name: statistics.median(call[name] for call in calls) for name in calls[0]}
    spark.stop()
    for name, seconds in medians.items():
        print(f"{name:12s} {seconds:6.2f} s after the call")
    best, worst = (choose(call["first step"] for call in calls) for choose in (min, max))
    print(f"first step: median {medians['first step']:.2f} s ({best:.2f} to {worst:.2f}); bar {BAR_S} s")
    figures = {"question": "start", "master": given.master, "seconds": medians, "calls": calls, "bar_s": BAR_S}
    print(json.dumps(figures))
    if given.json:
        Path(given.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
