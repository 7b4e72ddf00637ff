"""Declared columns against a schema, as plain values: mistakes are known before anything is submitted."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Optional

from mxspark.data.dtypes import refusal
from mxspark.data.spool import ColumnSpec
from mxspark.errors.spelling import closest

SCALARS = ("boolean", "tinyint", "smallint", "int", "bigint", "float", "double")
"""Column types that hold one number a row, as Spark's ``simpleString`` writes them."""

ACCEPTED = "boolean, tinyint, smallint, int, bigint, float, double, array of one of these, vector"

_SHOWN = 20
_LONGEST_NAME_BYTES = 200


def check(specs: Sequence[ColumnSpec], fields: Optional[Mapping[str, str]]) -> list[str]:
    """Return everything that is wrong with the declared columns, one line a problem.

    Parameters
    ----------
    specs : sequence of ColumnSpec
        Features and labels.
    fields : mapping of str to str, or None
        Columns that exist and their types as ``simpleString`` writes them: ``float``, ``array<double>``, ``vector``.
        None for an RDD, whose elements have no schema: then only the declaration itself is checked.

    Returns
    -------
    list of str
        Each line names the array, what was seen and what to do; empty where all is well.

    Examples
    --------
    >>> check([ColumnSpec("x", ("x",), None, "float32")], {"x": "array<float>"})
    []
    """
    problems = list(_duplicates(specs))
    for spec in specs:
        problems += _of_declaration(spec)
        if fields is not None:
            problems += _of_schema(spec, fields)
    return list(dict.fromkeys(problems))


def width(spec: ColumnSpec) -> Optional[int]:
    """Return the number of values a row has in an array, or None where only the data can tell."""
    return None if spec.shape is None else math.prod(spec.shape)


def sources(specs: Sequence[ColumnSpec]) -> tuple[str, ...]:
    """Return the source columns of all arrays, in declared order, each once."""
    return tuple(dict.fromkeys(column for spec in specs for column in spec.columns))


def quoted(name: str) -> str:
    """Return the name of a column as Spark reads it back."""
    return "`{}`".format(name.replace("`", "``"))


def _duplicates(specs: Sequence[ColumnSpec]) -> Iterator[str]:
    names = [spec.name for spec in specs]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield f"array {name!r} is declared {names.count(name)} times; give each array a name of its own"


def _of_declaration(spec: ColumnSpec) -> Iterator[str]:
    where = f"array {spec.name!r}"
    # the name is a file name in the spool and an input name of the network
    if not spec.name or "/" in spec.name or "\0" in spec.name or len(spec.name.encode()) > _LONGEST_NAME_BYTES:
        yield f"{where}: the name cannot be a file name; name it otherwise and list the column under 'columns'"
    if not spec.columns:
        yield f"{where}: no column is named; list at least one under 'columns'"
    for column in dict.fromkeys(spec.columns):
        if spec.columns.count(column) > 1:
            yield f"{where}: column {column!r} is listed {spec.columns.count(column)} times; list it once"
    if reason := refusal(spec.dtype):
        yield f"{where}: {reason}"
    if spec.shape is not None and any(size < 1 for size in spec.shape):
        yield f"{where}: shape {list(spec.shape)} has a size below 1; each size counts values of one row"
    elif len(spec.columns) > 1 and width(spec) not in (None, len(spec.columns)):
        yield (
            f"{where}: shape {list(spec.shape or ())} holds {width(spec)} values, "
            f"but {len(spec.columns)} columns are listed"
        )


def _of_schema(spec: ColumnSpec, fields: Mapping[str, str]) -> Iterator[str]:
    for column in dict.fromkeys(spec.columns):
        kind = fields.get(column)
        where = f"array {spec.name!r}: column {column!r}"
        if kind is None:
            yield f"{where} {_field_of_struct(column, fields) or f'does not exist{_hint(column, fields)}'}"
        elif kind.startswith("ambiguous"):
            yield (
                f"{where} is one of {kind[len('ambiguous (') : -1]} that have one name for Spark; rename them, "
                "df.toDF(...); where they differ in case alone, spark.sql.caseSensitive=true tells them apart"
            )
        elif len(spec.columns) > 1 and kind not in SCALARS:
            yield (
                f"{where} is of type {kind}, but an array made of several columns takes numeric scalars only "
                f"({', '.join(SCALARS)}); {_beside_others(kind)}"
            )
        elif spec.is_weight and kind not in SCALARS:
            yield f"{where} is of type {kind}, but a weight is one number a row; select that number as a column"
        elif not _usable(kind):
            yield f"{where} is of type {kind}, which cannot be trained on; {_remedy(kind)} (accepted: {ACCEPTED})"
        elif len(spec.columns) == 1 and kind in SCALARS and width(spec) not in (None, 1):
            yield (
                f"{where} is of type {kind}, one value a row, but shape {list(spec.shape or ())} "
                f"holds {width(spec)}; leave 'shape' out or list all its columns under 'columns'"
            )


def _usable(kind: str) -> bool:
    inner = kind[len("array<") : -1] if kind.startswith("array<") and kind.endswith(">") else kind
    return kind == "vector" or inner in SCALARS


_IDS = "lambda word: F.pmod(F.hash(word), F.lit(10000))"
"""What turns a word into one of so many ids, without a table of words."""

#: What to make of a type that holds no numbers, the first that matches; `column` stands for the column.
_REMEDIES = (
    (r"array<array<", "flatten it, F.flatten(column), and declare its 'shape'"),
    # an id or an amount in cents: double holds 15 digits of it
    (r"decimal\(\d+,0\)", "cast it, column.cast('bigint'), and declare dtype: int64"),
    (r"decimal", "cast it, column.cast('double')"),
    (r"array<decimal", "cast it, column.cast('array<double>')"),
    (
        r"string|char|varchar",
        "turn it into numbers: column.cast('double') for numbers, StringIndexer for categories, for text the ids of "
        f"its words, F.transform(F.split(column, ' '), {_IDS}), padded to one length",
    ),
    (
        r"array<(string|char|varchar)",
        f"turn it into numbers: column.cast('array<double>') for numbers, for words F.transform(column, {_IDS}), "
        "padded to one length",
    ),
    (
        r"binary",
        "turn it into numbers with a function of yours, F.udf(lambda data: decode(data), 'array<smallint>'), where "
        "decode is numpy.frombuffer(data, 'uint8').tolist() for raw bytes, and for images a list of what "
        "PIL.Image.open(io.BytesIO(data)) holds; declare its 'shape'",
    ),
    (r"timestamp|date", "turn it into a number, for instance F.unix_timestamp(column)"),
    (r"struct", "select the numeric fields as columns of their own"),
    (r"map", "select the numeric values as columns of their own, column['key']"),
    (r"void", "leave it out: it has no value in any row, as F.lit(None) has none"),
    (r"interval", "turn it into a number, for instance the difference of two F.unix_timestamp(column)"),
    (r"", "turn it into numbers or leave it out"),
)


_BESIDE_OTHERS = (
    "cast it, column.cast('double'), where it holds numbers; of categories make a column of 0 and 1 each, "
    "(column == 'value').cast('int'), or number them (StringIndexer) and declare them as an input of their own, for "
    "an Embedding"
)
"""What to make of text among numbers."""


def _remedy(kind: str) -> str:
    return next(text for pattern, text in _REMEDIES if re.match(pattern, kind))


def _beside_others(kind: str) -> str:
    """Return what to do with a column that is no number and stands in one array with others."""
    if _usable(kind):
        return "declare it as an array of its own"
    return _BESIDE_OTHERS if re.match(r"(string|char|varchar)", kind) else _remedy(kind)


def _field_of_struct(column: str, fields: Mapping[str, str]) -> str:
    """Return what to do with a name that is Spark's for a field within a column; "" for others."""
    outer, _, rest = column.partition(".")
    field = rest.rpartition(".")[2]
    # of array<struct<...>> Spark makes the array of the field
    if not field or not re.match(
        rf"(array<)?struct<(.*[<,])?{re.escape(field)}:", fields.get(outer, ""), re.IGNORECASE
    ):
        return ""
    return (
        f'is a field of column {outer!r}, and no column; select it, df.select("{column}", ...), declare it as '
        f"{field!r}, and give that DataFrame to train(); a job file cannot select, so write data.path with the field "
        "as a column"
    )


def _hint(column: str, fields: Mapping[str, str]) -> str:
    close = closest(column, fields, 3)
    meant = f"; did you mean {' or '.join(map(repr, close))}?" if close else ";"
    names = list(fields)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{meant} the columns are {', '.join(names[:_SHOWN])}{more}"
