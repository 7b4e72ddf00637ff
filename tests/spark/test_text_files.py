"""CSV and JSON: what Spark would lose, swap or take for text without a word is named, with the option to set."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional, Union

import pytest
from pyspark.sql import SparkSession

import mxspark
from mxspark.config.job_config import JobConfig
from mxspark.data.spool import ColumnSpec
from mxspark.errors import DataError
from mxspark.spark.spool import inputs, stage, text_files

ROWS = "".join(f"{row}.5,{row}.25,{row}\n" for row in range(20))
TABLE = "a,b,y\n" + ROWS
HEADER = {"header": "true", "inferSchema": "true"}
COLUMNS = [ColumnSpec(name, (name,), (), "float32") for name in "ay"]


def job_of(path: Path, kind: str = "csv", options: Optional[dict[str, str]] = None) -> dict[str, Any]:
    return {
        "data": {
            "path": f"file:{path}",
            "format": kind,
            "options": HEADER if options is None else options,
            "features": ["a"],
            "label": "y",
        },
        "training": {"network": network, "loss": "l2"},
        "job": {"dir": str(path.parent / "job")},
        "report": {"progress": "off"},
    }


def network() -> Any:
    from mxnet import gluon

    return gluon.nn.Dense(1)


def folder(tmp_path: Path, *files: Union[str, bytes]) -> Path:
    path = tmp_path / "rows"
    path.mkdir()
    for index, text in enumerate(files):
        (path / f"{index}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows_of(spark: SparkSession, path: Path, **options: str) -> int:
    job = JobConfig.from_dict(job_of(path, options={**HEADER, **options}))
    read = inputs.read(spark, job.data, job.data.path, "data.path")
    # of headers that differ in case Spark infers text
    frame = read.selectExpr(*(f"try_cast({name} as double) {name}" for name in "ay"))
    ready = stage.spool(frame, COLUMNS[:1], COLUMNS[1:], f"csv-{path.parent.name[:20]}", "training")
    stage.remove(ready, f"csv-{path.parent.name[:20]}")
    return sum(part.rows for part in ready)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            (TABLE, ROWS),
            r"1.csv: its header is '0.5, 0.25, 0', .* are 'a, b, y': .* differ.* If this one is a row of d",
        ),
        (
            (TABLE, "b,a,y\n" + ROWS),
            r"its header is '[ab], [ab], y', where .* are '[ab], [ab], y': .*one order of colu",
        ),
        ((TABLE, "a,b,c,y\n" + ROWS), r"its header has \d columns, where that of another file has \d"),
        ((",a,y\n1,2,3\n", ",y,a\n1,2,3\n"), r"the headers of the files differ"),
        ((TABLE + "1.5,2.5,1,234\n",), r"0.csv: the row '1.5,2.5,1,234' has another number of values .* into quotes"),
        ((TABLE + "1.5\n",), r"0.csv: the row '1.5' has another number of values .*complete or remove the row"),
    ],
)
def test_what_spark_loses_or_swaps_of_csv_is_named(
    spark: SparkSession, tmp_path: Path, files: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=rf"could not be read while it was spooled: file:.*{message}") as caught:
        rows_of(spark, folder(tmp_path, *files))
    assert "org.apache" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "rows"),
    [
        ((TABLE, TABLE), 40),
        ((b"\xef\xbb\xbf" + TABLE.encode(), TABLE), 40),
        ((TABLE.replace("\n", "\r\n"), TABLE), 40),
        ((f"a,b,y\n\n{ROWS}\n\n{ROWS}\n",), 40),
        ((TABLE + ",,3\n",), 21),
        ((TABLE, "", "a,b,y\n"), 20),
        ((TABLE, TABLE.replace("a,b,y", "A,b,y")), 40),
        ((",a,y\n0,1.5,2\n", ",a,y\n0,1.5,2\n"), 2),  # as pandas writes its index
        (("_c0,a,y\n0,1.5,2\n", "_c0,a,y\n0,1.5,2\n"), 2),
        (("b,a,b,y\n0,1.5,2,3\n",), 1),
        (("b,a,b,y\n0,1.5,2,3\n", "b,a,b,y\n0,1.5,2,3\n"), 2),
        (("a,y,\n1.5,2,\n", "a,y,\n1.5,2,\n"), 2),
    ],
)
def test_csv_that_is_right_is_read_as_it_was(
    spark: SparkSession, tmp_path: Path, files: tuple[Union[str, bytes], ...], rows: int
) -> None:
    assert rows_of(spark, folder(tmp_path, *files)) == rows


def test_what_a_job_says_of_a_reader_holds(spark: SparkSession, tmp_path: Path) -> None:
    path = folder(tmp_path, TABLE + "1.5,2.5,1,234\n", "b,a,y\n" + ROWS)
    by_place = {"enforceSchema": "true"}
    assert rows_of(spark, path, MODE="permissive", **by_place) == 41
    dropping = {"mode": "DROPMALFORMED", "columnPruning": "false", **by_place}
    assert rows_of(spark, path, **dropping) == 40
    with pytest.raises(DataError, match="has another number of values"):
        rows_of(spark, path, mode="failfast", **by_place)
    for options, told in ((dropping, 1), (by_place, 0)):
        source = JobConfig.from_dict(job_of(path, options=options)).data
        assert len(list(text_files.warnings(source))) == told


def test_rows_that_may_be_missing_are_a_warning_of_the_result(spark: SparkSession, tmp_path: Path) -> None:
    job = job_of(folder(tmp_path, TABLE), options={**HEADER, "mode": "DROPMALFORMED"})
    result = mxspark.train(config=job, cluster={"num_workers": 1, "num_servers": 0}, training={"epochs": 1})
    assert any("data.options: mode is DROPMALFORMED" in line and "rows may be" in line for line in result.warnings)
