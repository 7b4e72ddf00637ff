"""The spool stage on a real Spark."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pyarrow as pa
import pytest
from pyspark import TaskContext
from pyspark.ml.linalg import Vectors
from pyspark.mllib.linalg import Vectors as OldVectors
from pyspark.mllib.regression import LabeledPoint
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from spools import read, whole

from mxspark.data import columns, row_problems
from mxspark.data.spool import ColumnSpec, SpoolReady
from mxspark.data.survey import Survey
from mxspark.errors import ClusterError, DataError
from mxspark.spark.session import compat
from mxspark.spark.spool import batches, stage
from mxspark.topology.identity import host_identity

RUN = "run-1"
ROOT = Path(__file__).resolve().parents[2]
X = ColumnSpec("x", ("x",), None, "float32")
Y = ColumnSpec("y", ("y",), None, "int32", classes=10)
ROWS = 50


class Spools:
    """Spools for one test; what it wrote is removed at the end, and checked to be gone."""

    def __init__(self) -> None:
        self.made: list[SpoolReady] = []

    def __call__(self, data: Any, features: Sequence[ColumnSpec] = (X,), labels: Sequence[ColumnSpec] = (Y,)) -> Any:
        """Spool, remember, and say what was spooled."""
        ready = stage.spool(data, features, labels, RUN, f"t{len(self.made)}")
        self.made += ready
        return Survey.of(ready, (*features, *labels))

    def problem(self, data: Any, features: Sequence[ColumnSpec] = (X,), labels: Sequence[ColumnSpec] = (Y,)) -> str:
        """Return the only problem of the data."""
        (line,) = row_problems.problems(self(data, features, labels), features, labels)
        return line


@pytest.fixture
def spool() -> Iterator[Spools]:
    """Return what spools and cleans up."""
    spools = Spools()
    yield spools
    stage.remove(spools.made, RUN)
    for part in spools.made:
        assert not Path(part.path).parents[1].exists()


def values_of(row: int) -> list[float]:
    """Return three numbers that tell rows apart and that float32 holds."""
    return [row + 0.0, row + 0.25, -row - 0.5]


def frame(spark: SparkSession, rows: Sequence[Any], schema: str, partitions: int = 3) -> DataFrame:
    """Return a DataFrame whose partitions hold the rows in their order."""
    return spark.createDataFrame(spark.sparkContext.parallelize(rows, partitions), schema)


def vector(row: int) -> Any:
    """Return a dense or a sparse vector of the row's values."""
    dense = Vectors.dense(values_of(row))
    return dense if row % 2 else Vectors.sparse(3, [(i, v) for i, v in enumerate(values_of(row)) if v])


def old_vector(row: int) -> Any:
    return OldVectors.dense(values_of(row))


VALUES = [values_of(row) for row in range(ROWS)]
FRAMES: dict[str, Callable[[SparkSession], DataFrame]] = {
    "array<double>": lambda s: frame(s, [(v, i % 10) for i, v in enumerate(VALUES)], "x array<double>, y int"),
    "array<float>": lambda s: frame(s, [(v, i % 10) for i, v in enumerate(VALUES)], "x array<float>, y tinyint"),
    "double label": lambda s: frame(s, [(v, i % 10.0) for i, v in enumerate(VALUES)], "x array<float>, y double"),
    "vector": lambda s: s.createDataFrame([(vector(i), i % 10) for i in range(ROWS)], ["x", "y"]),
    "old vector": lambda s: s.createDataFrame([(old_vector(i), i % 10) for i in range(ROWS)], ["x", "y"]),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_every_row_arrives_once_in_order(spark: SparkSession, spool: Spools, kind: str) -> None:
    data = FRAMES[kind](spark)
    assert columns.check([X, Y], stage.fields(data)) == []
    ready = spool(data)
    assert row_problems.problems(ready, [X], [Y]) == []
    assert [part.partition for part in ready.ready] == list(range(data.rdd.getNumPartitions()))
    assert {part.host for part in ready.ready} == {host_identity()}
    assert whole(ready, "x") == VALUES
    assert whole(ready, "y") == [row % 10 for row in range(ROWS)]
    assert [spec.shape for spec in ready.settled([X, Y])] == [(3,), ()]


def test_several_scalars_become_one_vector(spark: SparkSession, spool: Spools) -> None:
    rows = [(i, i + 0.25, bool(i % 2), i % 10) for i in range(ROWS)]
    vec = ColumnSpec("vec", ("c", "a.b", "`b"), None, "float64", scale=2.0)
    ready = spool(frame(spark, rows, "`a.b` bigint, ```b` float, c boolean, y smallint"), [vec, X2], [Y])
    assert whole(ready, "vec") == [[2.0 * (i % 2), 2.0 * i, 2.0 * (i + 0.25)] for i in range(ROWS)]
    assert whole(ready, "x2") == list(range(ROWS))


X2 = ColumnSpec("x2", ("a.b",), None, "int64")


def test_vectors_keep_double_precision_where_the_network_wants_it(spark: SparkSession, spool: Spools) -> None:
    data = spark.createDataFrame([(Vectors.dense([1 / 3]), 1)], ["x", "y"])
    ready = spool(data, [ColumnSpec("x", ("x",), None, "float64")])
    assert whole(ready, "x") == [[1 / 3]]


def test_scaled_vectors_have_the_bits_that_jobs_began_with(spark: SparkSession, spool: Spools) -> None:
    pixels = np.arange(256.0).reshape(64, 4)
    data = spark.createDataFrame([(Vectors.dense(row), 1) for row in pixels], ["x", "y"]).coalesce(1)
    ready = spool(data, [ColumnSpec("x", ("x",), None, "float32", scale=1 / 255)])
    expected = pixels.astype(np.float32) * np.float32(1 / 255)
    assert (expected != (pixels / 255).astype(np.float32)).any(), "in doubles it would be others"
    assert np.concatenate(read(ready, "x")).tobytes() == expected.tobytes()


def by_position(row: int) -> Any:
    return values_of(row), row % 10


ELEMENTS: dict[str, Callable[[int], Any]] = {
    "tuple": by_position,
    "list": lambda row: [np.array(values_of(row), dtype=np.float32), np.int64(row % 10)],
    "row": lambda row: Row(y=row % 10, other="text", x=values_of(row)),
    "dict": lambda row: {"y": row % 10, "x": vector(row)},
    "labelled point": lambda row: LabeledPoint(row % 10, values_of(row)),
    "flat array": lambda row: np.array([*values_of(row), row % 10]),
    "mixed": lambda row: ELEMENTS[["tuple", "row", "flat array"][row % 3]](row),
}


@pytest.mark.parametrize("kind", ELEMENTS)
def test_every_rdd_element_arrives_once_in_order(spark: SparkSession, spool: Spools, kind: str) -> None:
    ready = spool(spark.sparkContext.parallelize([ELEMENTS[kind](row) for row in range(ROWS)], 3))
    assert row_problems.problems(ready, [X], [Y]) == []
    assert [part.rows for part in ready.ready] == [16, 16, 18]
    assert whole(ready, "x") == VALUES
    assert whole(ready, "y") == [row % 10 for row in range(ROWS)]


def test_rdd_and_frame_with_batches_of_any_size_have_the_same_checksums(spark: SparkSession, spool: Spools) -> None:
    key = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = str(spark.conf.get(key))
    found = []
    try:
        for records in ("1", "7", "10000"):
            spark.conf.set(key, records)
            found.append(spool(FRAMES["array<double>"](spark)))
    finally:
        spark.conf.set(key, before)
    found.append(spool(spark.sparkContext.parallelize([by_position(row) for row in range(ROWS)], 3)))
    sums = [ready.checksums.tolist() for ready in found]
    assert sums[0] == sums[1] == sums[2] == sums[3]
    assert len({crc for part in sums[0] for crc in part}) == 6


WIDE = 1 << 16  # numbers of a row, of which the bound lets 16 be in a batch


def bound(spark: SparkSession) -> Optional[str]:
    return spark.conf.get(batches.PYTHON, None)


def test_wide_rows_come_a_few_at_a_time_and_the_session_is_left_as_it_was(spark: SparkSession, spool: Spools) -> None:
    def with_size_of_batch(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:  # the number of rows that have come at once into each of them
            values = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(WIDE * batch.num_rows, np.float32)), WIDE)
            sizes = pa.array(np.full(batch.num_rows, batch.num_rows, np.int32))
            yield pa.RecordBatch.from_arrays([values.cast(pa.list_(pa.float32())), sizes], names=["x", "y"])

    session = spark.newSession()
    sized = session.range(0, 50, 1, 1).mapInArrow(with_size_of_batch, "x array<float>, y int")
    label = replace(Y, classes=None)
    assert batches.rows_of([replace(X, shape=(WIDE,)), label], stage.fields(sized)) == 16
    assert whole(spool(sized, [replace(X, shape=(WIDE,))], [label]), "y") == [16] * 48 + [2] * 2
    assert bound(session) is None
    # how wide the rows are is not known
    assert whole(spool(sized, [X], [label]), "y") == [50] * 50


def test_of_several_bounds_of_a_session_the_least_holds_and_the_last_puts_it_back(spark: SparkSession) -> None:
    session, other = spark.newSession(), spark.newSession()
    other.conf.set(batches.PYTHON, "100")
    second = batches.at_most(session, 200)
    with batches.at_most(session, 300), batches.at_most(other, 200):
        assert bound(session) == "300"
        second.__enter__()
        assert bound(session) == "200"
        assert bound(other) == "100", "the user wants less"
    assert bound(session) == "200"
    second.__exit__(None, None, None)
    assert (bound(session), bound(other)) == (None, "100")


def test_what_a_user_sets_meanwhile_stays(spark: SparkSession) -> None:
    other = spark.newSession()
    with batches.at_most(other, 300):
        other.conf.set(batches.PYTHON, "5000")
    assert bound(other) == "5000"
    other.conf.set(batches.PYTHON, "0")  # no bound
    with batches.at_most(other, 300):
        assert bound(other) == "300"
    assert bound(other) == "0"


def test_empty_partitions_answer_too(spark: SparkSession, spool: Spools) -> None:
    for data in (
        frame(spark, [([1.0], 1), ([2.0], 2)], "x array<double>, y int", 5),
        spark.sparkContext.parallelize([([1.0], 1), ([2.0], 2)], 5),
    ):
        ready = spool(data)
        assert [part.rows for part in ready.ready] == [0, 0, 1, 0, 1]
        assert row_problems.problems(ready, [X], [Y]) == []
        assert whole(ready, "x") == [[1.0], [2.0]]
        assert ready.settled([X])[0].shape == (1,)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.limit(0),
        lambda data: data.where("false"),
        lambda data: data.where("y > 100"),
        lambda data: data.rdd.filter(lambda row: False),
    ],
)
def test_no_rows_is_a_problem(spark: SparkSession, spool: Spools, change: Callable[[DataFrame], Any]) -> None:
    assert "the data has no rows" in spool.problem(change(FRAMES["array<float>"](spark)))


def test_partitions_that_only_a_running_query_knows_all_answer(spark: SparkSession, spool: Spools) -> None:
    grouped = spark.range(0, 100, 1, 3).groupBy(F.col("id").alias("x")).agg(F.lit(1).alias("y"))
    united = grouped.union(spark.range(5).select(F.col("id").alias("x"), F.lit(1).alias("y")))
    for data, rows in ((grouped, 100), (united, 105), (grouped.orderBy("x").cache(), 100)):
        assert spool(data).rows == rows
        data.unpersist()


def bad(row: int, value: Any) -> Any:
    return (value, 1) if row in (17, 18, 40) else (values_of(row), 1)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, ["3 rows are null", "row 1: no value); drop or fill them"]),
        ([1.0, None, 2.0], ["3 rows are null", "row 1: null inside); drop or fill them"]),
        ([1.0, float("nan"), 2.0], ["3 rows are not finite", "row 1: NaN); drop or replace them"]),
        ([1e39, 0.0, 0.0], ["3 rows are not finite", "row 1: too large for float32); drop or replace them"]),
        ([1.0], ["3 rows are of another length", "row 1: length 1 where 3 was expected); make all rows of one length"]),
    ],
)
def test_bad_rows_are_named_before_training(spark: SparkSession, spool: Spools, value: Any, said: list[str]) -> None:
    rows = [bad(row, value) for row in range(ROWS)]
    for data in (frame(spark, rows, "x array<double>, y int"), spark.sparkContext.parallelize(rows, 3)):
        line = spool.problem(data)
        where = "(2 in partition 1, 1 in partition 2; first at partition 1, "
        assert line.startswith(f"column x: {said[0]} {where}{said[1]}")


def test_a_declared_shape_that_fits_no_row_is_what_to_correct(spark: SparkSession, spool: Spools) -> None:
    wide = ColumnSpec("images", ("x",), (3, 4), "float32")
    for rows in ([([1.0] * 6, 1)] * 5, [([1.0] * 6, 1)] * 4 + [([], 1)]):
        line = spool.problem(frame(spark, rows, "x array<double>, y int", 2), [wide])
        assert line.startswith("column x: 5 rows are of another length")
        advice = (
            "length 6 where 12 was expected); no row fits the declared shape [3, 4]: correct data.features.images.shape"
        )
        assert f"{advice}, or make all rows of one length n" in line
    some = frame(spark, [([1.0] * 6, 1)] * 4 + [([1.0] * 12, 1)], "x array<double>, y int", 2)
    assert "no row fits" not in spool.problem(some, [wide])
    pairs = ColumnSpec("y", ("y",), (3,), "float32")
    line = spool.problem(frame(spark, [([1.0], [1.0, 2.0])] * 3, "x array<double>, y array<double>"), [X], [pairs])
    assert "no row fits the declared shape [3]: correct data.label.y.shape, or make" in line


def test_bad_rows_of_every_type_of_array_are_told_alike(spark: SparkSession, spool: Spools) -> None:
    kinds = ("boolean", "tinyint", "smallint", "int", "bigint", "float", "double")
    rows: list[Any] = [[True, False], [True, None], None, [], [True], [False, True], None]
    given = frame(spark, [(row,) for row in rows], "x array<boolean>", 2)
    data = given.select(*[F.col("x").cast(f"array<{kind}>").alias(kind) for kind in kinds], F.lit(1).alias("y"))
    specs = [ColumnSpec(kind, (kind,), None, "float32") for kind in kinds]
    said = row_problems.problems(spool(data, specs), specs, [Y])
    for kind in kinds:
        assert [line for line in said if line.startswith(f"column {kind}: ")] == [
            f"column {kind}: 3 rows are null (2 in partition 0, 1 in partition 1; first at partition 0, row 1: null "
            "inside); drop or fill them before training",
            f"column {kind}: 2 rows are of another length (2 in partition 1; first at partition 1, row 0: length 0 "
            f"where 1 was expected); make all rows of one length n, or drop those: F.slice(F.concat('{kind}', "
            "F.array_repeat(F.lit(0), n)), 1, n) pads short ones and cuts long ones (a vector after vector_to_array)",
        ]


@pytest.mark.parametrize("kind", ["tinyint", "int", "bigint", "float", "double"])
def test_ragged_rows_are_padded_and_cut_as_advised(spark: SparkSession, spool: Spools, kind: str) -> None:
    ragged = frame(spark, [([1] * length,) for length in (2, 1, 0, 5)], "x array<int>", 1)
    data = ragged.select(F.col("x").cast(f"array<{kind}>"), F.lit(1).alias("y"))
    line = spool.problem(data)
    advice = "F.slice(F.concat('x', F.array_repeat(F.lit(0), n)), 1, n)"
    assert f"; make all rows of one length n, or drop those: {advice} pads" in line
    padded = data.withColumn("x", eval(advice, {"F": F, "n": 3}))
    assert whole(spool(padded), "x") == [[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]]


def test_bytes_and_words_become_numbers_as_advised(spark: SparkSession, spool: Spools) -> None:
    data = frame(spark, [(b"\x01\xff", "a b"), (b"\x00\x80", "b a")], "data binary, words string", 1)
    specs = [ColumnSpec(name, (name,), None, "float32") for name in ("data", "words")]
    binary, text = columns.check(specs, stage.fields(data))
    as_numbers, decode, as_ids = (
        "F.udf(lambda data: decode(data), 'array<smallint>')",
        "numpy.frombuffer(data, 'uint8').tolist()",
        "F.transform(F.split(column, ' '), lambda word: F.pmod(F.hash(word), F.lit(10000)))",
    )
    assert as_numbers in binary and decode in binary and as_ids in text
    decoding = eval(as_numbers, {"F": F, "decode": eval(f"lambda data: {decode}", {"numpy": np})})
    numbers = data.select(
        decoding("data").alias("data"), eval(as_ids, {"F": F, "column": F.col("words")}).alias("words")
    )
    ready = spool(numbers.withColumn("y", F.lit(1)), specs)
    assert whole(ready, "data") == [[1, 255], [0, 128]]
    (one, other), swapped = whole(ready, "words")
    assert swapped == [other, one] and one != other and 0 <= min(one, other) < max(one, other) < 10_000


def test_null_vectors_are_rows_like_others(spark: SparkSession, spool: Spools) -> None:
    line = spool.problem(spark.createDataFrame([(vector(1), 1), (None, 1), (vector(3), 1)], ["x", "y"]).coalesce(1))
    assert line.startswith("column x: 1 row is null (1 in partition 0; first at partition 0, row 1: no value)")


def test_labels_outside_the_classes(spark: SparkSession, spool: Spools) -> None:
    line = spool.problem(frame(spark, [(v, i) for i, v in enumerate(VALUES)], "x array<double>, y int"))
    assert line.startswith("column y: 40 rows are no valid label (6 in partition 0, 16 in partition 1, 18 in partition")
    assert "row 10: outside [0, 10)); map the labels" in line


def test_elements_of_no_known_kind(spark: SparkSession, spool: Spools) -> None:
    line = spool.problem(spark.sparkContext.parallelize(["a", "b"], 1))
    assert line.startswith("RDD elements: 2 rows are not usable (2 in partition 0; first at partition 0, row 0: str; ")


def test_partitions_that_disagree_on_the_shape(spark: SparkSession, spool: Spools) -> None:
    rows = [([1.0] * (2 + (row >= 20)), 1) for row in range(30)]
    line = spool.problem(frame(spark, rows, "x array<double>, y int"))
    assert "column x: rows have different shapes: [2] in 2 partitions (first partition 0), [3] in 1 partition" in line


def test_many_partitions_make_one_line(spark: SparkSession, spool: Spools) -> None:
    line = spool.problem(spark.sparkContext.parallelize([(None, 1)] * 12, 12))
    assert "12 rows are null (1 in partition 0, 1 in partition 1, 1 in partition 2, 1 in partition 3, 1 in part" in line
    assert "and more in 7 other partitions; first at partition 0, row 0" in line


def test_the_users_exception_comes_with_its_traceback(spark: SparkSession, spool: Spools) -> None:
    def fails_at_seven(row: int) -> float:
        if row == 7:
            raise OSError("nothing good at row seven")
        return float(row)

    udf = F.udf(fails_at_seven, "double", useArrow=False)
    mapped = spark.range(0, 10, 1, 2).select(udf("id").alias("x"), F.lit(1).alias("y"))
    mapped_rdd = spark.sparkContext.parallelize(range(10), 2).map(lambda row: (fails_at_seven(row), 1))
    for data in (mapped, mapped_rdd):
        with pytest.raises(DataError) as caught:
            spool(data)
        said = str(caught.value)
        assert "could not be read while it was spooled: the code that makes the data raised:\n" in said
        assert said.count("Traceback (most recent call last)") == 1
        assert "in fails_at_seven" in said
        assert said.endswith("OSError: nothing good at row seven\nmend it, or the rows it is given")
        assert isinstance(caught.value.__cause__, compat.SPARK_ERRORS)


def test_a_corrupt_file_is_named(spark: SparkSession, spool: Spools, tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"no parquet at all" * 10)
    with pytest.raises(DataError, match=r"bad\.parquet") as caught:
        spool(spark.read.schema("x array<float>, y int").parquet(str(tmp_path / "bad.parquet")))
    assert "\tat " not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_column_that_is_gone_is_a_data_error(spark: SparkSession, spool: Spools) -> None:
    with pytest.raises(DataError, match="x"):
        spool(spark.range(3).withColumn("y", F.lit(1)))


def test_cancelling_is_not_an_error_of_the_data(spark: SparkSession, spool: Spools, tmp_path: Path) -> None:
    started = tmp_path / "started"

    def block(row: int) -> Any:
        started.touch()
        threading.Event().wait(60)
        return row

    def cancel() -> None:
        while not started.exists():
            pause.wait(0.05)
        spark.sparkContext.cancelJobGroup("spool-test")

    pause = threading.Event()
    spark.sparkContext.setJobGroup("spool-test", "blocks", interruptOnCancel=True)
    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        with pytest.raises(compat.SPARK_ERRORS) as caught:
            spool(spark.sparkContext.parallelize(range(2), 2).map(block))
    finally:
        thread.join(60)
        spark.sparkContext._jsc.clearJobGroup()
    assert compat.is_cancelled(caught.value)


def test_files_are_private_and_of_this_attempt(spark: SparkSession, spool: Spools) -> None:
    ready = spool(FRAMES["array<float>"](spark)).ready
    for part in ready:
        folder = Path(part.path).parent
        assert folder.parent.name == f"mxspark-{RUN}"
        assert {each.stat().st_mode & 0o777 for each in (folder, folder.parent)} == {0o700}
        assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


def make_link(path: Path) -> None:
    path.symlink_to("/")


def make_open_folder(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)


def make_file(path: Path) -> None:
    path.touch(0o600)


@pytest.mark.parametrize("make", [make_link, make_open_folder, make_file])
def test_a_local_folder_that_is_not_ours_is_refused(
    spark: SparkSession, spool: Spools, make: Callable[[Path], None]
) -> None:
    taken = Path(spool(FRAMES["array<float>"](spark)).ready[0].path).parents[2] / f"mxspark-{make.__name__}"
    make(taken)
    with pytest.raises(ClusterError, match=rf"no local folder takes the spool \(.*{taken.name}.*not a private folder"):
        stage.spool(FRAMES["array<float>"](spark), [X], [Y], make.__name__, "training")
    taken.rmdir() if make is make_open_folder else taken.unlink()


def test_only_this_hosts_spools_are_removed(spark: SparkSession, spool: Spools) -> None:
    ready = spool(FRAMES["array<float>"](spark))
    elsewhere = [replace(part, host="other") for part in ready.ready]
    stage.remove(elsewhere, RUN)
    assert whole(ready, "x") == VALUES


RETRY = """
    import os, sys
    from pathlib import Path
    from pyspark import TaskContext
    from pyspark.sql import SparkSession
    from mxspark.spark.spool import stage as spool_stage
    from mxspark.data.spool import ColumnSpec
    from mxspark.data.survey import Survey

    def dies_once(rows):
        context = TaskContext.get()
        for row in rows:
            yield row, 1
            if context.partitionId() == 1 and context.attemptNumber() == 0 and row == 15:
                if sys.argv_kind == "kill":
                    os.kill(os.getpid(), 9)
                raise ValueError("once")

    spark = SparkSession.builder.master("local[2,3]").getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    for kind in ("raise", "kill"):
        def run(rows, kind=kind):
            sys.argv_kind = kind
            return dies_once(rows)
        rdd = spark.sparkContext.parallelize(range(20), 2).mapPartitions(run)
        specs = [ColumnSpec(name, (name,), None, "int32") for name in "xy"]
        ready = spool_stage.spool(rdd, specs[:1], specs[1:], "retry", kind)
        folder = Path(ready[0].path).parent
        last = [int(Survey.of([part], specs).arrays[0].maximum) for part in ready]
        spool_stage.remove(ready, "retry")
        print(kind, [part.rows for part in ready], last, folder.exists())
    spark.stop()
"""


def test_a_retried_task_counts_once(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": f"--conf spark.ui.enabled=false --conf spark.local.dir={tmp_path} --conf "
        f"spark.driver.host=127.0.0.1 --conf spark.driver.bindAddress=127.0.0.1 --conf "
        f"spark.driver.extraJavaOptions=-Djava.io.tmpdir={tmp_path} pyspark-shell",
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RETRY)], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.stdout.splitlines() == [
        "raise [10, 10] [9, 19] False",
        "kill [10, 10] [9, 19] False",
    ], done.stderr[-3000:]
    assert TaskContext.get() is None


def test_names_that_are_one_to_spark_are_ambiguous_before_anything_is_read(spark: SparkSession) -> None:
    data = spark.range(3).selectExpr("id as x", "id as X", "id as y")
    assert stage.fields(data) == {"x": "ambiguous (2 columns)", "X": "ambiguous (2 columns)", "y": "bigint"}
    (line,) = columns.check([X, Y], stage.fields(data))
    assert "column 'x' is one of 2 columns that have one name for Spark; rename them, df.toDF(...)" in line
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        assert columns.check([X, Y], stage.fields(data)) == []
    finally:
        spark.conf.unset("spark.sql.caseSensitive")
