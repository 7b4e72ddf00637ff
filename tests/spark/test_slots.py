"""Several trainings, and other work, in one session: each waits for its slots, in the order in which they asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyspark import InheritableThread
from pyspark.sql import SparkSession
from spark.drivers import LIMIT_S, wait_for
from spark.jobs import ALONE, DIGITS, train

import mxspark
from mxspark.errors import ClusterError
from mxspark.spark.session import compat, slots
from mxspark.spark.session.call import SparkCall

pytestmark = pytest.mark.usefixtures("nothing_left")
WORKERS = 3  # of the four slots of these tests' session: two trainings never fit


@contextmanager
def busy(spark: SparkSession, tasks: int, until: Path) -> Iterator[None]:
    """Hold slots with a Spark job that ends when a file is there."""

    def hold(_rows: Any) -> Any:
        while not until.exists():
            threading.Event().wait(0.05)
        return []

    job = spark.sparkContext.parallelize(range(tasks), tasks).mapPartitions(hold)

    def collect() -> None:
        spark.sparkContext.setJobDescription("a count of Ann's")
        job.collect()

    thread = InheritableThread(target=collect)
    thread.start()
    try:
        wait_for("the job that holds slots", lambda: slots.lack(spark, 4 - tasks + 1))
        yield
    finally:
        until.touch()
        thread.join(LIMIT_S)


def test_trainings_at_once_take_turns_and_one_waits_for_work_of_the_users(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each reads its rows, then waits; three of three workers on four slots, and a job of the user's on two of them."""

    def one(number: int) -> mxspark.Result:
        return train(
            tmp_path / f"job{number}",
            cluster={"num_workers": WORKERS},
            training={"epochs": 1},
            # far less than a training takes: who waits for trainings is not given up
            failure={"slots_s": 0.5 if number else 600.0, "start_s": 30.0 if number else 240.0},
            report={"progress": "lines"},
        )

    done = tmp_path / "done"
    with ThreadPoolExecutor(3) as pool:
        with busy(spark, 2, done):
            first = pool.submit(one, 0)
            said = []
            wait_for("the wait", lambda: said.append(capsys.readouterr().err) or "waiting for 3 free" in "".join(said))
            assert "2 of 4 are free, Spark is running 'a count of Ann's' (2 tasks)" in "".join(said)
        others = [pool.submit(one, number) for number in (1, 2)]
        results = [future.result(LIMIT_S) for future in (first, *others)]
    assert [(result.status, result.epochs, result.attempts) for result in results] == [("succeeded", 1, ())] * 3


def test_a_spool_without_a_slot_says_who_holds_them_and_goes_on(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    done = tmp_path / "done"
    rows = spark.read.parquet(DIGITS)

    def heard(words: str) -> bool:
        said.append(capsys.readouterr().err)
        return words in "".join(said)

    with ThreadPoolExecutor(2) as pool:
        with busy(spark, 4, done):
            futures = [
                pool.submit(train, tmp_path / name, df, job={"name": name}, cluster=ALONE, report={"progress": "lines"})
                for name, df in (("ann", rows), ("bob", None))  # what is read of a path is looked at for its columns
            ]
            held = "waits for a free slot: 0 of 4 are free, Spark is running 'a count of Ann's' (4 tasks)"
            for begin in ("ann: spooling", "bob: checking"):
                wait_for("the wait", partial(heard, f"mxspark: {begin} {held}"))
        assert [future.result(LIMIT_S).status for future in futures] == ["succeeded"] * 2
    assert "starting Spark" not in "".join(said), "it is there"


def test_a_job_that_begins_after_its_group_was_cancelled_is_cancelled_too(spark: SparkSession, tmp_path: Path) -> None:
    """As of a query that is just being planned: it would go on, and an interrupt wait for it in vain."""
    looked = threading.Event()

    class Looked(SparkCall[int]):
        def _running(self) -> set[int]:
            found = super()._running()
            looked.set()
            return found

    def hold(_rows: Any) -> Any:
        while not (tmp_path / "never").exists():
            threading.Event().wait(0.05)
        return []

    def action() -> int:
        assert looked.wait(LIMIT_S)
        return len(spark.sparkContext.parallelize(range(1), 1).mapPartitions(hold).collect())

    call = Looked(spark.sparkContext, "mxspark-planned", "planned", action)
    try:
        assert call.cancel(LIMIT_S)
    finally:
        (tmp_path / "never").touch()  # the Python of a cancelled task holds its slot until it has ended
    wait_for("the end of the task", lambda: slots.lack(spark, 4) is None)
    error = call.error()
    assert error is not None and compat.is_cancelled(error)


def test_slots_that_others_hold_too_long_are_named(spark: SparkSession, tmp_path: Path) -> None:
    with busy(spark, 2, tmp_path / "done"), pytest.raises(ClusterError) as caught:
        train(tmp_path / "job", cluster={"num_workers": WORKERS}, failure={"slots_s": 0.5})
    said = caught.value.message
    assert "cluster.num_workers is 3, but for 0.5 s (failure.slots_s) 2 of 4 are free, Spark is running" in said
    assert "'a count of Ann's' (2 tasks); let that end or cancel it" in said and caught.value.exit_code == 4
