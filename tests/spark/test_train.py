"""The whole way: Spark partitions to a trained, published model, on real roles."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from spark.jobs import ALONE, DIGITS, ROOT, digits, mlp, parameters, train
from spark.pretence import pretend

import mxspark
from mxspark.protocol.events import Reported, RoleStarted, Started, Straggler
from mxspark.spark.run import stragglers

pytestmark = pytest.mark.usefixtures("nothing_left")


def load_parameters(*folders: Path) -> list[dict[str, Any]]:
    """Read MXNet's own parameter files in one process of plain MXNet."""
    code = (
        "import sys, numpy; numpy.bool = numpy.bool_; import mxnet as mx\n"
        "for folder in sys.argv[1:]:\n"
        "    values = mx.nd.load(folder + '/model-0000.params')\n"
        "    numpy.savez(folder + '/values.npz', **{k: v.asnumpy() for k, v in values.items()})"
    )
    subprocess.run([sys.executable, "-c", code, *folders], check=True, timeout=600, capture_output=True)
    return [dict(np.load(folder / "values.npz")) for folder in folders]


def values_of(into: Path, *results: mxspark.Result) -> list[dict[str, Any]]:
    """Return the trained parameters of each."""
    folders = [result.model.fetch(str(into / str(number))) for number, result in enumerate(results) if result.model]
    assert len(folders) == len(results)
    return load_parameters(*map(Path, folders))


def distance(a: dict[str, Any], b: dict[str, Any]) -> float:
    """Return the relative global L2 distance of two sets of parameters."""
    assert a.keys() == b.keys()
    difference = sum(float(((a[name] - b[name]).astype(np.float64) ** 2).sum()) for name in a)
    return float(np.sqrt(difference / sum(float((a[name].astype(np.float64) ** 2).sum()) for name in a)))


def test_a_job_from_parquet_to_a_model_that_plain_mxnet_loads(spark: SparkSession, tmp_path: Path) -> None:
    seen: list[Reported] = []
    result = mxspark.train(None, digits(tmp_path / "job"), on_event=seen.append)

    assert (result.status, result.epochs, result.steps) == ("succeeded", 2, 24)
    assert abs(result.rows_per_epoch - 1438) < 60
    assert result.metrics["validation"]["last"]["accuracy"] > 0.75
    assert [epoch.epoch for epoch in result.history] == [0, 1]
    assert result.history[1].training["loss"] < result.history[0].training["loss"]
    assert set(result.seconds) == {"check", "spool", "resume", "start", "train"}
    roles = {(r.role, r.rank) for r in seen}
    assert {("scheduler", 0), ("server", 0), ("server", 1), ("worker", 0), ("worker", 1)} <= roles
    folder = tmp_path / "job"
    assert sorted(path.name for path in folder.iterdir()) == [
        "_fixed.json", "_job.json", "_terms", "_tmp", "checkpoints", "model", "model-best", "runs",
    ]  # fmt: skip
    assert {path.name for path in (folder / "model").iterdir()} >= {
        "model-symbol.json",
        "model-0000.params",
        "signature.json",
    }
    run = folder / "runs" / result.run_id
    assert {path.name for path in run.iterdir()} >= {"events.jsonl", "result.json", "worker-0.log", "scheduler-0.log"}
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert {line["event"] for line in lines} >= {
        "Joined",
        "RoleStarted",
        "Formed",
        "Started",
        "EpochEnd",
        "Staged",
        "Done",
    }
    assert json.loads((run / "result.json").read_text())["status"] == "succeeded"


def test_a_metric_from_a_package_makes_a_best_model(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "code" / "team"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "metrics.py").write_text("def wrong(labels, outputs):\n    return outputs.argmax(1) != labels\n")
    monkeypatch.syspath_prepend(package.parent)
    name = "team.metrics:wrong"
    result = train(tmp_path / "job", cluster=ALONE, training={"metrics": [name], "best_by": {"direction": "min"}})
    assert result.best_model is not None and (tmp_path / "job" / "model-best" / "model-0000.params").exists()
    values = [epoch.validation[name] for epoch in result.history]
    assert result.metrics["validation"]["best"][name] == min(values) < 0.5
    signature = json.loads((tmp_path / "job" / "model-best" / "signature.json").read_text())
    assert signature["epoch"] == values.index(min(values))


def test_the_model_handle_predicts(spark: SparkSession, tmp_path: Path) -> None:
    """In a process of its own, which loads MXNet for the first time."""
    result = train(tmp_path / "job", cluster=ALONE)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(result.model))
    program = (
        "import pickle, sys, warnings\n"
        "model = pickle.loads(open(sys.argv[1], 'rb').read())\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    net = model.load()\n"
        "print('warned', [str(each.message) for each in caught if 'gluon' in each.filename])\n"
        "import mxnet as mx\n"
        "print('shape', net(mx.nd.ones((3, 64))).shape)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "model.pickle")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert "warned []\nshape (3, 10)" in done.stdout, done.stdout + done.stderr[-2000:]


def test_bytes_that_are_scaled_when_they_are_read_train_the_same_model(spark: SparkSession, tmp_path: Path) -> None:
    hashes = []
    for dtype in ("float32", "uint8"):
        data = {"features": {"pixels": {"dtype": dtype}}}
        result = train(tmp_path / dtype, cluster=ALONE, data=data, training={"epochs": 1})
        hashes.append(parameters(result, tmp_path / f"model-{dtype}")["sha256"])
        (given,) = json.loads((tmp_path / dtype / "model/signature.json").read_text())["inputs"]
        assert (given["dtype"], given["scale"]) == ("float32", 0.0625), "whoever loads it multiplies as training did"
    assert hashes[0] == hashes[1]


def test_every_row_counts_exactly_once_an_epoch(spark: SparkSession, tmp_path: Path) -> None:
    """Two moments of the row numbers that the workers saw, against the true ones; uneven and empty partitions."""
    rows = spark.sparkContext.parallelize([], 1).union(
        spark.sparkContext.parallelize(range(0, 37), 2).union(spark.sparkContext.parallelize(range(37, 1001), 3))
    )
    frame = spark.createDataFrame(rows.map(lambda i: (float(i), [1.0, 2.0])), "number double, x array<double>")

    def number(label: Any, _output: Any) -> Any:
        return label

    def square(label: Any, _output: Any) -> Any:
        return label * label

    def net() -> Any:
        from mxnet import gluon

        return gluon.nn.Dense(1)

    result = mxspark.train(
        frame,
        job={"dir": str(tmp_path / "job")},
        data={"features": ["x"], "label": {"number": {"dtype": "float64"}}},
        cluster={"num_workers": 3},
        training={
            "network": net, "loss": "l2", "optimizer": {"name": "sgd", "learning_rate": 1e-9},
            "metrics": [number, square], "batch_size": 64, "epochs": 2,
        },
        report={"progress": "off"},
    )  # fmt: skip
    ids = np.arange(1001, dtype=np.float64)
    for epoch in result.history:
        seen = [value for name, value in epoch.training.items() if name != "loss"]
        assert sorted(seen) == pytest.approx([ids.mean(), (ids**2).mean()], rel=1e-12)
        assert epoch.rows == 1001


@pytest.mark.parametrize(("optimizer", "bound"), [("sgd", 1e-6), ("adam", 1e-4)])
def test_one_two_and_four_workers_train_the_same_model(
    spark: SparkSession, tmp_path: Path, optimizer: str, bound: float
) -> None:
    options = {"sgd": {"learning_rate": 0.1, "momentum": 0.9}, "adam": {"learning_rate": 0.002, "momentum": None}}[
        optimizer
    ]
    options = {key: value for key, value in options.items() if value is not None}
    results = []
    for workers in (1, 2, 4):
        result = mxspark.train(
            None,
            {
                **digits(tmp_path / f"job{workers}", cluster={"num_workers": workers}),
                "training": {
                    "network": mlp, "loss": "softmax_cross_entropy", "optimizer": {"name": optimizer, **options},
                    "batch_size": 72, "epochs": 2, "seed": 7,
                },
            },
        )  # fmt: skip
        assert result.steps >= 40
        results.append(result)
    models = values_of(tmp_path / "models", *results)
    assert 0 <= distance(models[1], models[0]) <= bound
    assert 0 <= distance(models[2], models[0]) <= bound


@pytest.mark.parametrize("workers", [1, 2])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    spark: SparkSession, tmp_path: Path, workers: int
) -> None:
    cluster = {"num_workers": workers}
    schedule = {"name": "factor", "step": 7, "factor": 0.9}
    whole = train(tmp_path / "whole", cluster=cluster, training={"epochs": 3, "schedule": schedule})
    first = train(tmp_path / "parts", cluster=cluster, training={"epochs": 1, "schedule": schedule})
    second = train(tmp_path / "parts", cluster=cluster, training={"epochs": 3, "schedule": schedule})
    assert (first.epochs, second.epochs, [epoch.epoch for epoch in second.history]) == (1, 3, [1, 2])
    assert parameters(whole, tmp_path / "a")["sha256"] == parameters(second, tmp_path / "b")["sha256"]
    for one, other in zip(whole.history[1:], second.history):
        assert (one.training, one.validation) == (other.training, other.validation)


@pytest.fixture(scope="module")
def finished(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The job dir of a run of one epoch."""
    folder = tmp_path_factory.mktemp("finished") / "job"
    train(folder, cluster=ALONE, training={"epochs": 1})
    return folder


def test_with_nothing_left_to_train_it_says_so(finished: Path) -> None:
    again = train(finished, cluster=ALONE, training={"epochs": 1})
    assert again.status == "succeeded" and again.message.startswith("nothing left to train")
    assert (again.epochs, again.steps, len(again.history)) == (1, 12, 1) and again.model is not None


def test_a_model_that_is_missing_is_made_from_the_last_checkpoint(finished: Path) -> None:
    """As after a kill between the last checkpoint and the model."""
    expected = (finished / "model/model-0000.params").read_bytes()
    shutil.rmtree(finished / "model")
    again = train(finished, cluster=ALONE, training={"epochs": 1})
    assert again.status == "succeeded" and (again.epochs, again.steps, len(again.history)) == (1, 12, 1)
    assert again.metrics["validation"]["last"]["accuracy"] == again.history[0].validation["accuracy"] > 0
    assert (finished / "model/model-0000.params").read_bytes() == expected


def test_old_checkpoints_go_and_the_newest_stay(spark: SparkSession, tmp_path: Path) -> None:
    result = train(
        tmp_path / "job",
        cluster=ALONE,
        training={"epochs": 4},
        checkpoint={"every_epochs": 1, "every_steps": 5, "keep": 2},
    )
    names = sorted(path.name for path in (tmp_path / "job/checkpoints").iterdir())
    assert result.checkpoint is not None and result.checkpoint.endswith(names[-1]) and names[-1].startswith("s00000048")
    assert 2 <= len(names) <= 3  # and that of the best epoch


@pytest.fixture(scope="module")
def of_the_frame(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The parameters that the data frame of the digits gives, by their hash."""
    folder = tmp_path_factory.mktemp("frame")
    trained = train(folder / "job", spark.read.parquet(DIGITS), cluster=ALONE, training={"epochs": 1})
    return str(parameters(trained, folder / "model")["sha256"])


@pytest.mark.parametrize("kind", ["tuples", "rows", "arrays"])
def test_rdds_train_the_same_model_as_the_data_frame(
    spark: SparkSession, tmp_path: Path, kind: str, of_the_frame: str
) -> None:
    frame = spark.read.parquet(DIGITS)
    rdd = {
        "tuples": lambda row: (row.pixels, row.digit),
        "rows": lambda row: Row(pixels=row.pixels, digit=row.digit),
        "arrays": lambda row: np.array([*row.pixels, row.digit]),
    }[kind]
    result = train(tmp_path / "rdd", frame.rdd.map(rdd), cluster=ALONE, training={"epochs": 1})
    assert parameters(result, tmp_path / "model")["sha256"] == of_the_frame


def test_validation_rows_of_their_own(spark: SparkSession, tmp_path: Path) -> None:
    frame: DataFrame = spark.read.parquet(DIGITS)
    result = train(tmp_path / "job", frame, frame.limit(100), data={"validation": {"fraction": 0.0}})
    assert result.rows_per_epoch == 1797
    accuracy = result.metrics["validation"]["last"]["accuracy"]
    assert accuracy * 100 == pytest.approx(round(accuracy * 100), abs=1e-9), "an exact count over 100 rows"


def test_servers_on_the_driver_and_tcp(spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = train(
        tmp_path / "job",
        cluster={"num_workers": 2, "num_servers": 3, "servers_on_driver": 2},
        transport={"mode": "tcp"},
        training={"epochs": 1},
    )
    assert result.status == "succeeded"
    assert "neither authenticated nor encrypted" in caplog.text


def test_global_shuffle_and_none(spark: SparkSession, tmp_path: Path) -> None:
    for shuffle in ("global", "none"):
        result = train(tmp_path / shuffle, data={"shuffle": shuffle}, cluster=ALONE, training={"epochs": 1})
        assert result.rows_per_epoch > 1300


def test_a_run_cancelled_in_spark_ends_and_is_not_started_again(spark: SparkSession, tmp_path: Path) -> None:
    cancelled: list[int] = []

    def cancel(reported: Reported) -> None:
        if isinstance(reported.event, Started) and not cancelled:
            cancelled.append(1)
            spark.sparkContext.cancelAllJobs()

    job = digits(tmp_path / "job", training={"epochs": 400}, failure={"max_restarts": 3})
    with pytest.raises(mxspark.ClusterError, match="cancelled") as caught:
        mxspark.train(None, job, on_event=cancel)
    assert cancelled and caught.value.result is not None
    assert [attempt.how for attempt in caught.value.result.attempts] == ["stop"]
    assert spark.range(100).count() == 100, "the session is of use"


@pytest.mark.parametrize(("workers", "hosts"), [(4, 2)])
def test_hosts_that_are_pretended_train_the_same_model(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, hosts: int
) -> None:
    """Each host sums inside, the leaders of the hosts through one server a host."""
    training = {"optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}}
    alone = train(tmp_path / "alone", cluster={"num_workers": 1, "num_servers": 0}, training=training)
    pretend(monkeypatch, workers, hosts)
    started: list[Reported] = []
    job = digits(tmp_path / "hosts", cluster={"num_workers": workers, "num_servers": None}, training=training)
    result = mxspark.train(None, job, on_event=started.append)
    roles = [report.event.role for report in started if isinstance(report.event, RoleStarted)]
    assert sorted(roles) == ["scheduler", *["server"] * hosts, *["worker"] * workers]
    ours, theirs = values_of(tmp_path / "models", result, alone)
    assert distance(ours, theirs) < 1e-6


@pytest.mark.parametrize("metric", ["one_slow", pytest.param("slow", marks=pytest.mark.long)])
def test_a_slow_worker_is_named_and_not_ended(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    """Where both are slow, nobody is."""
    monkeypatch.setattr(stragglers, "WINDOW_S", 4.0)
    monkeypatch.setattr(stragglers, "SHARE", 0.5)  # more than a busy machine makes of so short a window
    seen: list[Reported] = []
    environment = {"GATE_FOLDER": str(tmp_path), "SLOW_S": "0.4"}
    training = {"metrics": [f"spark.gates:{metric}"], "best_by": "loss"}
    job = digits(tmp_path / "job", cluster={"environment": environment}, training=training)
    result = mxspark.train(None, job, on_event=seen.append)
    assert (result.status, result.steps) == ("succeeded", 24)
    named = [said.event for said in seen if isinstance(said.event, Straggler)]
    if metric == "slow":
        assert not named and not result.warnings
        return
    (pid,) = [int(path.name.partition("-")[2]) for path in tmp_path.glob("slow-*")]
    (rank,) = [said.event.rank for said in seen if isinstance(said.event, RoleStarted) and said.event.pid == pid]
    assert [(event.rank, event.waited > 0.5) for event in named] == [(rank, True)]
    (warning,) = result.warnings
    assert f"worker {rank} on " in warning and "is slow: the others waited for it" in warning
    assert '"Straggler"' in Path(str(result.events).removeprefix("file://")).read_text()


def test_a_slow_worker_is_named_beside_other_hosts(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader of the other host waits for the servers. Named again and again, it is one warning of the result."""
    monkeypatch.setattr(stragglers, "WINDOW_S", 2.0)
    monkeypatch.setattr(stragglers, "AGAIN_S", 0.0)
    pretend(monkeypatch, 4, 2)
    seen: list[Reported] = []
    cluster = {"num_workers": 4, "num_servers": None, "environment": {"GATE_FOLDER": str(tmp_path), "SLOW_S": "0.4"}}
    training = {"metrics": ["spark.gates:one_slow"], "best_by": "loss"}
    job = digits(tmp_path / "job", cluster=cluster, training=training)
    result = mxspark.train(None, job, on_event=seen.append)
    assert result.status == "succeeded"
    (pid,) = [int(path.name.partition("-")[2]) for path in tmp_path.glob("slow-*")]
    (rank,) = [said.event.rank for said in seen if isinstance(said.event, RoleStarted) and said.event.pid == pid]
    named = [said.event.rank for said in seen if isinstance(said.event, Straggler)]
    assert set(named) == {rank}
    (warning,) = result.warnings
    assert f"worker {rank} on " in warning


def test_processes_that_the_training_code_leaves_are_ended_and_named(spark: SparkSession, tmp_path: Path) -> None:
    result = train(tmp_path / "job", training={"network": "spark.gates:daemons"})
    assert result.status == "succeeded"
    assert sorted(warning.partition(" left")[0] for warning in result.warnings) == ["worker 0", "worker 1"]
    for warning in result.warnings:
        assert "sleep 1001 (pid " in warning and "sleep 1002 (pid " in warning and "were ended" in warning
        for pid in re.findall(r"pid (\d+)", warning):
            assert not Path(f"/proc/{pid}").exists()
