"""Random small jobs on Spark with real roles, against plain MXNet. Most run in `mx/test_fuzz.py`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fuzz.cases import Case, Rows, cases_with, good_cases
from fuzz.compare import Outcome, check, refusal
from fuzz.flaws import FLAWS
from fuzz.networks import network
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from pyspark.sql import Row, SparkSession

import mxspark
from mxspark.mx.runtime.importing import import_mxnet

QUIET: dict[str, Any] = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
ONCE = [Phase.generate]  # a smaller example would take minutes to find


def run(spark: SparkSession, case: Case, folder: Path) -> Outcome:
    """Train a job as its user does."""
    rows = data(spark, case, case.rows, case.counts)
    validation = None
    if case.validation is not None:
        validation = data(spark, case, case.validation, (len(next(iter(case.validation.values()))),))
    made = network(case.inputs, case.outputs, case.hidden, case.norm)
    job = {**case.job, "job": {"dir": str(folder / "job")}, "training": {**case.job["training"], "network": made}}
    try:
        result = mxspark.train(rows, job, validation_df=validation)
    except Exception as error:
        return refusal(error)
    assert result.status == "succeeded" and result.model is not None
    import mxnet as mx

    model = Path(result.model.fetch(str(folder / "model")))
    return Outcome(
        parameters={
            name.partition(":")[2]: array.asnumpy()
            for name, array in mx.nd.load(str(model / "model-0000.params")).items()
        },
        epochs=[{"training": end.training, "validation": end.validation, "rows": end.rows} for end in result.history],
    )


def data(spark: SparkSession, case: Case, rows: Rows, counts: tuple[int, ...]) -> Any:
    """Return a DataFrame or an RDD of these rows, in partitions of these sizes."""
    names, every = list(rows), list(zip(*rows.values()))
    starts = [sum(counts[:place]) for place in range(len(counts))]
    parts = [every[start : start + count] for start, count in zip(starts, counts)]
    rdd = spark.sparkContext.parallelize(parts, len(parts)).flatMap(list)
    if case.source == "tuples":
        return rdd
    if case.source == "dicts":
        return rdd.map(lambda row: Row(**dict(zip(names, row))))
    return spark.createDataFrame(rdd, case.schema)


def fuzz(spark: SparkSession, case: Case) -> None:
    note(case.by_hand())
    import_mxnet()
    folder = Path(tempfile.mkdtemp())
    try:
        check(case, run(spark, case, folder))
    finally:
        shutil.rmtree(folder)


def test_random_jobs_on_spark(spark: SparkSession) -> None:
    @settings(max_examples=4, derandomize=True, phases=ONCE, **QUIET)
    @given(good_cases(workers=(2,)))
    def one(case: Case) -> None:
        fuzz(spark, case)

    one()


@pytest.mark.long
def test_many_random_jobs_on_spark(spark: SparkSession) -> None:
    @settings(max_examples=300, phases=ONCE, **QUIET)
    @given(st.one_of(good_cases((1, 2, 3)), st.sampled_from(FLAWS).flatmap(cases_with)))
    def one(case: Case) -> None:
        fuzz(spark, case)

    one()
