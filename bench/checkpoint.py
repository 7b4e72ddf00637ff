"""What does a checkpoint cost? The training it holds up, and its way to HDFS beside ``hdfs dfs -put``.

    ./submit.sh --exec-dev python bench/checkpoint.py [stall] [upload]

The network has 25 MB of parameters, with Adam 75 MB of state; figures are for 100 MB. The upload needs the HDFS of the
tests (see tests/cluster). Bars: 50 ms, and 0.8 of the rate of ``-put``.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]
MB = 1e6
BATCH, ROUNDS = 256, 6


def training():
    """Return a function that makes a step and returns its seconds, the parameters it trains and their updater."""
    from mxspark.mx.runtime.importing import import_mxnet

    import_mxnet()
    import mxnet as mx
    from mxnet import autograd, gluon

    from mxspark.job.spec import Component
    from mxspark.mx.state.optimizer import Updater

    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Dense(2048, in_units=2048, activation="relu"), gluon.nn.Dense(1040, in_units=2048))
    net.initialize()
    net.hybridize()
    params = net._collect_params_with_prefix()
    updater = Updater(Component("adam"), None, tuple(params.values()))
    loss_of = gluon.loss.L2Loss()
    rows = mx.nd.random.uniform(shape=(BATCH, 2048)), mx.nd.random.uniform(shape=(BATCH, 1040))

    def step() -> float:
        start = time.perf_counter()
        with autograd.record():
            loss = loss_of(net(rows[0]), rows[1])
        loss.backward()
        updater.update(BATCH)
        mx.nd.waitall()
        return time.perf_counter() - start

    return step, params, updater


def stall() -> None:
    """Print how long the loop stands still, and what all steps around a checkpoint take longer."""
    step, params, updater = training()
    from mxspark.mx.state import checkpoint_files
    from mxspark.mx.state.checkpoint_writer import CheckpointWriter

    size = 3 * sum(param.data().size * 4 for param in params.values()) / MB
    writer = CheckpointWriter(lambda _staged: None)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(10):
            step()
        table = []
        for number in range(ROUNDS):
            usual = statistics.median(step() for _ in range(20))
            for how in ("beside", "inline"):
                path = str(Path(folder, f"{how}{number}"))
                start = time.perf_counter()
                copy = checkpoint_files.snapshot(params, updater, {"step": number, "epoch": 0})
                if how == "beside":
                    writer.begin(path, copy)
                else:
                    copy.write(path)
                held = time.perf_counter() - start
                taken, count = held, 0
                while count < 10 or not writer._idle.is_set():
                    taken, count = taken + step(), count + 1
                writer.wait(lambda: None)
                table.append((how, held, taken - count * usual, usual))
        scale = 100 / size
        for how in ("beside", "inline"):
            held, lost = ([row[index] for row in table if row[0] == how] for index in (1, 2))
            print(
                f"{how}: the loop is held for {statistics.median(held) * scale * 1e3:.1f} ms, the steps around it take "
                f"{statistics.median(lost) * scale * 1e3:.0f} ms longer in all (a step: {table[0][3] * 1e3:.0f} ms)"
            )


def upload() -> None:
    """Print the rate of commits to a real HDFS over that of ``-put``, both in the same JVM, in turns."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/cluster")]
    from hdfs import Hdfs
    from job_records import RECORD, a_run, stage
    from pyspark.sql import SparkSession

    from mxspark.jobdir.checkpoints import CheckpointStore
    from mxspark.jobdir.layout import JobDir
    from mxspark.spark.hadoop.storage import HadoopStorage

    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    configuration = spark._jsc.hadoopConfiguration()
    configuration.set("dfs.replication", "1")
    hdfs = Hdfs()
    try:
        hdfs.start()
        store = CheckpointStore(JobDir.acquire(HadoopStorage(spark), f"{hdfs.uri}/job", RECORD, a_run()), 1)
        jvm = spark._jvm
        shell = jvm.org.apache.hadoop.fs.FsShell(configuration)
        ours, theirs = [], []
        with tempfile.TemporaryDirectory() as folder:
            for number in range(ROUNDS + 1):
                content = {"parameters.params": bytes(25_000_000), "optimizer.params": bytes(75_000_000)}
                staged = stage(Path(folder), 10 * (number + 1), content)
                arguments = spark.sparkContext._gateway.new_array(jvm.java.lang.String, 4)
                files = [str(Path(staged.path, name)) for name in content]
                shell.run(_strings(arguments, "-mkdir", "-p", f"{hdfs.uri}/put", f"{hdfs.uri}/put"))
                start = time.perf_counter()
                code = shell.run(_strings(arguments, "-put", "-f", files[0], f"{hdfs.uri}/put"))
                code += shell.run(_strings(arguments, "-put", "-f", files[1], f"{hdfs.uri}/put"))
                theirs.append(time.perf_counter() - start)
                assert code == 0
                start = time.perf_counter()
                store.commit(staged)
                ours.append(time.perf_counter() - start)
        ours, theirs = ours[1:], theirs[1:]
        print(
            f"commit of 100 MB: {statistics.median(ours):.2f} s; -put of the same files: "
            f"{statistics.median(theirs):.2f} s; rate over that of -put: "
            f"{statistics.median(b / a for a, b in zip(ours, theirs)):.2f}"
        )
    finally:
        spark.stop()
        hdfs.stop()


def _strings(array: object, *texts: str) -> object:
    for index, text in enumerate(texts):
        array[index] = text  # type: ignore[index]
    return array


if __name__ == "__main__":
    from mxspark.topology.placement import MALLOC

    if not MALLOC.items() <= os.environ.items():  # as roles run, which keep the memory of the checkpoint before
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **MALLOC})
    for name in sys.argv[1:] or ["stall", "upload"]:
        {"stall": stall, "upload": upload}[name]()
