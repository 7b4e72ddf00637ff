"""How much memory does each process of a run need? Peak resident memory (what YARN counts) against the estimate.

    python bench/footprint.py [--json FILE]

Resident memory of a process, as YARN's NodeManager adds it up for a container: shared and mapped pages count in each
process that has touched them. The estimate is `mxspark.topology.memory`, by which runs warn and `mxspark check` judges.
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

import psutil  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

import mxspark  # noqa: E402
from mxspark.topology import memory  # noqa: E402

DIGITS = str(ROOT / "examples/digits/digits.parquet")
HIDDEN = {"small": 128, "10 M": 3100, "40 M": 6270}  # 2 hidden layers, trained values 26 thousand, 9.8 M, 39.8 M
OPTIMIZERS = {
    "sgd": {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9},
    "adam": {"name": "adam", "learning_rate": 0.001},
}


def network_of(hidden: int):
    """Return a function that builds an MLP."""

    def network():
        from mxnet.gluon import nn

        net = nn.HybridSequential()
        net.add(nn.Dense(hidden, activation="relu"), nn.Dense(hidden, activation="relu"), nn.Dense(10))
        return net

    return network


class Peaks(threading.Thread):
    """Samples the largest resident memory of any process of each kind."""

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
                        self.bytes[kind] = max(self.bytes.get(kind, 0), child.memory_info().rss)
                except (psutil.Error, OSError):
                    continue

    def stop(self) -> dict[str, int]:
        """Return the peaks in bytes by kind."""
        self._told.set()
        self.join()
        return self.bytes


def kind_of(process: psutil.Process) -> str:
    """Return what a process below the driver is, "" for others."""
    words = process.cmdline()
    line = " ".join(words)
    if words and words[-1].partition("-")[0] in ("worker", "server", "scheduler"):
        return words[-1].partition("-")[0]
    if "pyspark.daemon" in line or "pyspark/daemon" in line:
        return "python"
    return "agent" if "mxspark.agent" in line else ""


def measure(spark: SparkSession, hidden: int, optimizer: dict, workers: int) -> dict[str, int]:
    """Train two epochs, with a checkpoint after each, and return peaks in bytes by kind, and the trained values."""
    values: list[int] = []
    peaks = Peaks()
    peaks.start()
    with tempfile.TemporaryDirectory() as folder:
        mxspark.train(
            spark.read.parquet(DIGITS),
            on_event=lambda said: values.append(getattr(said.event, "parameters", 0)),
            job={"dir": folder},
            data={"features": {"pixels": {"scale": 0.0625}}, "label": {"digit": {"dtype": "int32"}}},
            cluster={"num_workers": workers},
            training={
                "network": network_of(hidden), "loss": "softmax_cross_entropy", "optimizer": optimizer, "epochs": 2,
            },
            report={"progress": "off"},
        )  # fmt: skip
    return {**peaks.stop(), "values": max(values)}


def print_case(name: str, found: dict[str, int]) -> None:
    """Print measured and estimated MiB of the processes of one run."""
    kinds = dict(heap=1024, overhead=384, slots=1, workers=2, servers=2, values=found["values"])
    estimate = {part.name: part.mib for part in memory.executor(**kinds).parts}
    estimate["scheduler"], estimate["python"] = memory.SCHEDULER, estimate["Python task"]
    columns = [f"{kind} {found[kind] >> 20} ({estimate[kind]})" for kind in sorted(found) if kind != "values"]
    print(f"{name:22s} {found['values']:11,d} values, MiB (estimate): {', '.join(columns)}", flush=True)


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    builder = SparkSession.builder.master("local[4]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.driver.memory", "1g").getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    results = []
    for name, hidden in HIDDEN.items():
        for optimizer, options in OPTIMIZERS.items():
            for workers in (2, 4) if name == "10 M" else (2,):
                found = measure(spark, hidden, options, workers)
                print(
                    name,
                    optimizer,
                    workers,
                    {k: (v >> 20 if k != "values" else v) for k, v in found.items()},
                    flush=True,
                )
                results.append({"network": name, "optimizer": optimizer, "workers": workers, **found})
    spark.stop()
    if given.json:
        given.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
