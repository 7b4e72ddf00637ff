"""CSV and JSON: what Spark would lose, swap or take for text without a word is named, with the option to set."""

from __future__ import annotations

import re
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
        (
            (TABLE, "a,b,y,c\n" + ROWS.replace("\n", ",7\n")),
            r"its header has \d columns, where that of another file has \d",
        ),
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


def test_rows_that_may_be_missing_and_those_that_are_not_read_are_warned_of(
    spark: SparkSession, tmp_path: Path
) -> None:
    job = job_of(folder(tmp_path, TABLE), options={**HEADER, "mode": "DROPMALFORMED"})
    job["data"]["validation"] = {"path": "nowhere"}
    rows = spark.createDataFrame([(1.0, 2.0)] * 4, "a double, y double")
    alone = {"num_workers": 1, "num_servers": 0}
    result = mxspark.train(None, job, validation_df=rows, cluster=alone, training={"epochs": 1})
    not_read = (
        "data.validation.path is 'nowhere' and validation_df is given to train(): validation_df is taken, and "
        "data.validation.path is not read; leave one out"
    )
    assert not_read in result.warnings
    assert any("data.options: mode is DROPMALFORMED" in line and "rows may be" in line for line in result.warnings)
    parsed = JobConfig.from_dict(job)
    (line, other) = inputs.warnings(parsed, rows, rows)
    assert other == not_read
    assert re.match("data.path is 'file:.*/rows' and df is given to .*: df is taken, and data.path is not read", line)


OF_HEADER = {"header": "true"}
UNICODE = "größe,a,y\n" + ROWS


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (TABLE.replace(",", ";"), HEADER, "columns 'a;b;y' in it; add to data.options: {sep: ';'}"),
        (TABLE.replace(",", "\t"), OF_HEADER, 'add to data.options: {sep: "\\t", inferSchema: true}'),
        (TABLE.replace(",", "|"), {}, "set data.options: {sep: '|', header: true, inferSchema: true}"),
        (TABLE, {}, "columns '_c0, _c1, _c2' in it; set data.options: {header: true, inferSchema: true}"),
        (TABLE, OF_HEADER, "columns 'a, b, y' in it; add to data.options: {inferSchema: true}"),
        (UNICODE.encode("latin-1"), HEADER, "add to data.options: {encoding: ISO-8859-1}"),
        (UNICODE.encode("utf-16"), HEADER, "add to data.options: {encoding: UTF-16, multiLine: true}"),
        (ROWS, HEADER, "Spark has taken the row '0.5, 0.25, 0' for the header: a file has none; write the header into"),
        (TABLE + "?,1,2\n", HEADER, "column 'a' is text to Spark, for '?' is no number; correct it in the file, or, "),
        (TABLE + '"1,5",1,2\n', HEADER, "for '1,5' is no number; write numbers with a point"),
    ],
)
def test_the_option_of_csv_that_is_missing_is_named(
    spark: SparkSession, tmp_path: Path, text: Union[str, bytes], options: dict[str, str], message: str
) -> None:
    path = folder(tmp_path, text)
    job = job_of(path, options=options)
    job["data"]["features"] = ["größe" if "coding" in message else "a"]
    with pytest.raises(DataError) as caught:
        mxspark.train(config=job)
    assert str(caught.value).startswith(f"data.path='file:{path}': ") and message in str(caught.value)


def test_headers_that_differ_are_told_where_they_make_text_of_the_columns(spark: SparkSession, tmp_path: Path) -> None:
    path = folder(tmp_path, TABLE, "b,a,y\n" + ROWS)
    with pytest.raises(DataError, match="the headers of the files differ") as caught:
        mxspark.train(config=job_of(path))
    assert "cast" not in str(caught.value) and str(caught.value).startswith(f"data.path='file:{path}': ")


@pytest.mark.parametrize("text", ['[\n{"a": 1, "y": 2},\n{"a": 3, "y": 4}\n]\n', '{\n "a": 1,\n "y": 2\n}\n'])
def test_json_that_is_not_a_line_a_row_is_named(spark: SparkSession, tmp_path: Path, text: str) -> None:
    path = folder(tmp_path, text)
    with pytest.raises(DataError, match=r"takes every line for a row, .* set data.options: {multiLine: true}"):
        mxspark.train(config=job_of(path, "json", {}))
    source = JobConfig.from_dict(job_of(path, "json", {"multiLine": "true"})).data
    assert "_corrupt_record" not in inputs.read(spark, source, source.path, "data.path", COLUMNS).columns


def test_files_without_a_header_are_told_by_their_columns(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(mxspark.ConfigError, match="column 'a' does not exist; the columns are _c0, _c1, _c2"):
        mxspark.train(config=job_of(folder(tmp_path, ROWS), options={}))
