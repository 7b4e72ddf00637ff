"""Which option of a CSV or JSON reader a job lacks, by the columns that Spark has made of the files without it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from pyspark.sql import DataFrame, SparkSession

from mxspark.config.data_section import Source
from mxspark.data.columns import quoted, sources
from mxspark.data.spool import ColumnSpec
from mxspark.spark.spool import text_files

_SHOWN = 100
_NUMBER = r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*"
#: What is between values beside a comma, as YAML has it.
_SEPARATORS = {";": "';'", "\t": '"\\t"', "|": "'|'"}


@dataclass(frozen=True)
class Table:
    """What Spark has made of some files: the declared columns that it has not, and those that are text."""

    frame: DataFrame
    lacking: tuple[str, ...]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, frame: DataFrame, arrays: Sequence[ColumnSpec]) -> Table:
        """Hold the declared columns against a table."""
        kinds = dict(frame.dtypes)
        wanted = sources(arrays)
        texts = tuple(name for name in wanted if kinds.get(name) == "string")
        return cls(frame, tuple(name for name in wanted if name not in kinds), texts)


def problem(
    spark: SparkSession, source: Source, path: str, frame: DataFrame, arrays: Sequence[ColumnSpec]
) -> Optional[str]:
    """Return what is wrong with the options, or a value that makes text of a column; None where neither shows."""
    table = Table.of(frame, arrays)
    given = text_files.said(source.options)
    if source.format.lower() == "json":
        return _of_json(spark, path, table, given)
    if not text_files.is_csv(source) or not (table.lacking or table.texts):
        return None
    if table.lacking and all(re.fullmatch(_NUMBER, name) for name in frame.columns):
        return (
            f"Spark has taken the row {_shown(', '.join(frame.columns))} for the header: a file has none; write the "
            "header into every file, or into none and leave header out of data.options (the columns are _c0, _c1, ...)"
        )
    options = dict(_of_csv(table, given))
    if options:
        return f"Spark finds the columns {_shown(', '.join(frame.columns))} in it; {_set(given, options)}"
    return next(_of_values(table), None)


def _of_csv(table: Table, given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    has_header = given.get("header", "false").lower() == "true"
    found = False
    if table.lacking:
        heads = table.frame.columns if has_header else [str(value) for value in table.frame.head() or ()]
        for option in _of_heads(heads, given):
            found = True
            yield option
        if not has_header and (found or set(heads) & set(table.lacking)):
            found = True
            yield "header", "true"
    if (found or table.texts) and given.get("inferschema", "false").lower() != "true":
        yield "inferSchema", "true"


def _of_heads(heads: Sequence[str], given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what the letters of the first line tell."""
    text = "".join(heads)
    if not {"encoding", "charset"} & set(given):
        if "\0" in text:
            yield "encoding", "UTF-16"
            yield "multiLine", "true"  # without it Spark cuts lines between the bytes of a letter
        elif "\ufffd" in text:
            yield "encoding", "ISO-8859-1"
    if len(heads) == 1 and not {"sep", "delimiter"} & set(given):
        yield from (("sep", written) for mark, written in _SEPARATORS.items() if mark in text)


def _of_values(table: Table) -> Iterator[str]:
    """Yield for each column of text which value is no number, though Spark was to infer the type."""
    for name in table.texts:
        row = (
            table.frame.selectExpr(f"{quoted(name)} as value")
            .where("value is not null and try_cast(value as double) is null")
            .head()
        )
        if row is None:
            continue
        value = str(row[0])
        if re.fullmatch(r"\s*[-+]?[\d.]*,\d+\s*", value):
            remedy = "write numbers with a point, for Spark has no option for a comma"
        else:
            remedy = (
                "correct it in the file, or, where it stands for no value, name it as nullValue in data.options; what "
                "is text is turned into numbers in Python, with a DataFrame that is given to train()"
            )
        yield f"column {name!r} is text to Spark, for {_shown(value)} is no number; {remedy}"


def _of_json(spark: SparkSession, path: str, table: Table, given: Mapping[str, str]) -> Optional[str]:
    """Return that a file is no line of JSON a row, where a row of Spark's for what is no JSON shows it."""
    if "_corrupt_record" not in table.frame.columns or given.get("multiline", "false").lower() == "true":
        return None
    row = spark.read.text(path).where("length(trim(value)) > 0").head()
    start = "" if row is None else str(row[0]).strip("\ufeff \t")[:1]
    if start == "[" or (start == "{" and table.lacking):
        return (
            f"Spark takes every line for a row, and its first is none by itself; {_set(given, {'multiLine': 'true'})}"
        )
    return None


def _set(given: Mapping[str, str], options: Mapping[str, str]) -> str:
    # those that are given are not repeated: a value may be secret
    words = ", ".join(f"{name}: {value}" for name, value in options.items())
    return f"{'add to' if given else 'set'} data.options: {{{words}}}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
