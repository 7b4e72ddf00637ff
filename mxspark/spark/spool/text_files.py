"""CSV read so that nothing is lost or swapped without a word, and what Spark then raises told in words of a job.

By itself Spark takes the values of a CSV file by place, whatever its header says, drops the first line of every file
for a header, cuts off values that are too many, and takes null for those that are missing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from typing import Optional

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructField, StructType

from mxspark.config.data_section import Source
from mxspark.spark.session import compat

log = logging.getLogger(__name__)

_CSV = ("csv", "com.databricks.spark.csv")
_CHECK_HEADERS = {"enforceSchema": "false"}
#: With columns pruned Spark takes the declared ones out of a row, and does not see how many values it has.
_CHECK_ROWS = {"mode": "FAILFAST", "columnPruning": "false"}
_LONGEST = 200

_FILE = re.compile(r"(?:CSV file: |while reading file )(\S+?)\.?(?=\s|$)")
_HEADER = re.compile(
    r"CSV header does not conform to the schema\.\s*\n Header: (.*)\n Schema: (.*)\n"
    r"|Number of column in CSV header is not equal to number of fields in the schema:\s*\n"
    r" Header length: (\d+), schema size: (\d+)"
)
_MALFORMED = re.compile(r"MALFORMED_RECORD_IN_PARSING|Malformed records are detected in record parsing")
_RECORD = re.compile(r"Malformed CSV record: (.*?)(?: SQLSTATE: \w+)?$", re.MULTILINE)
_NO_VALUE = re.compile(r"For input string: \"?(.*?)\"?$", re.MULTILINE)


def said(options: Mapping[str, str]) -> dict[str, str]:
    """Return a reader's options by their names in small letters, as Spark knows them."""
    return {name.lower(): value for name, value in options.items()}


def is_csv(source: Source) -> bool:
    """Tell whether a source is CSV."""
    return source.format.lower() in _CSV


def load(spark: SparkSession, source: Source, path: str) -> DataFrame:
    """Return what Spark reads; of CSV headers and numbers of values are checked, unless the options say otherwise."""
    if not is_csv(source):
        return spark.read.format(source.format).options(**source.options).load(path)
    given = said(source.options)
    options = dict(source.options)
    if given.get("mode", "FAILFAST").upper() == "FAILFAST":
        options.update((name, value) for name, value in _CHECK_ROWS.items() if name.lower() not in given)
    has_header = given.get("header", "false").lower() == "true"
    if not has_header or "enforceschema" in given:
        return spark.read.format(source.format).options(**options).load(path)
    return _with_checked_headers(spark, source.format, {**options, **_CHECK_HEADERS}, path)


def _with_checked_headers(spark: SparkSession, kind: str, options: Mapping[str, str], path: str) -> DataFrame:
    """Return the rows of files whose headers Spark holds against the names of the columns.

    A column that has no name in the header (the index of pandas), or that of another one, Spark names itself. For the
    check it has to bear the name that is written.
    """
    frame = spark.read.format(kind).options(**options).load(path)
    if not any(name.endswith(str(index)) for index, name in enumerate(frame.columns)):
        return frame
    unchecked = spark.read.format(kind).schema(frame.schema).options(**{**options, "enforceSchema": "true"})
    if compat.files_of(frame) < 2:
        return unchecked.load(path)
    written = _written(spark, kind, options, path, frame)
    if written == frame.columns:
        return frame
    if len({name.lower() for name in written}) < len(written):
        log.warning(
            "%s: the headers of its files are not compared, for several columns have no name or the same; make sure "
            "that they are in one order in all files",
            path,
        )
        return unchecked.load(path)
    schema = StructType([StructField(name, field.dataType) for name, field in zip(written, frame.schema.fields)])
    named = spark.read.format(kind).schema(schema).options(**options).load(path)
    return named.toDF(*frame.columns)


def _written(spark: SparkSession, kind: str, options: Mapping[str, str], path: str, frame: DataFrame) -> list[str]:
    """Return the names of columns as a header has them."""
    left = {name: value for name, value in options.items() if name.lower() not in ("header", "inferschema")}
    first = spark.read.format(kind).options(**left).load(path).head()
    found = [None] * len(frame.columns) if first is None else list(first)
    return [_as_in_header(index, *pair) for index, pair in enumerate(zip(frame.columns, found))]


def _as_in_header(index: int, name: str, found: Optional[str]) -> str:
    if not found:
        return "" if name == f"_c{index}" else name
    return found if name == f"{found}{index}" else name


def warnings(source: Source) -> Iterator[str]:
    """Yield which rows a job has Spark leave out without counting them."""
    if said(source.options).get("mode", "").upper() == "DROPMALFORMED":
        yield (
            "data.options: mode is DROPMALFORMED: Spark leaves out rows that it cannot read and does not count them, "
            "so rows may be missing; leave mode out and they are named"
        )


def explain(text: str) -> Optional[str]:
    """Return what is wrong with a CSV file, of all that Spark says of a failed job; None where that is not it."""
    header = _HEADER.search(text)
    file = _FILE.search(text)
    where = f"{file.group(1)}: " if file else ""
    if header:
        return where + _of_header(header)
    if not _MALFORMED.search(text):
        return None
    record, value = _RECORD.search(text), _NO_VALUE.search(text)
    if record:
        return (
            f"{where}the row {_short(record.group(1))} has another number of values than there are columns; put a "
            'value that holds the separator into quotes, "1,234", complete or remove the row, or let Spark cut off '
            "what is too many and take null for what is missing: mode: PERMISSIVE in data.options"
        )
    if value:
        return (
            f"{where}the value {_short(value.group(1))} has not the type of its column, which Spark has found in other "
            "rows; correct it, leave out samplingRatio in data.options, or take null for it: mode: PERMISSIVE there"
        )
    return None


def _of_header(found: re.Match[str]) -> str:
    header, schema, length, size = found.groups()
    if header is None:
        differ = f"its header has {length} columns, where that of another file has {size}"
    else:
        differ = f"its header is {_short(header)}, where the columns by that of another file are {_short(schema)}"
    return (
        f"{differ}: the headers of the files differ, and Spark takes values by place. If this one is a row of data, "
        "write the header into every file, or into none and leave header out of data.options; else write all files "
        "with one order of columns, or give train() the unionByName of DataFrames; enforceSchema: true in data.options "
        "takes them by place all the same"
    )


def _short(text: str) -> str:
    return repr(text.strip() if len(text) <= _LONGEST else text[:_LONGEST] + "...")
