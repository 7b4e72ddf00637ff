"""Declared columns against a schema."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mxspark.data import columns
from mxspark.data.spool import ColumnSpec

FIELDS = {
    "pixels": "array<double>",
    "v": "vector",
    "a": "int",
    "b": "float",
    "flag": "boolean",
    "name": "string",
    "day": "date",
}
GOOD = ColumnSpec("pixels", ("pixels",), (1, 8, 8), "float32", 0.0625)


def test_good_columns_have_no_problems() -> None:
    specs = [
        GOOD,
        ColumnSpec("v", ("v",), None, "float16"),
        ColumnSpec("ab", ("a", "b", "flag"), None, "float32"),
        ColumnSpec("square", ("a", "b", "flag", "a2"), (2, 2), "float32"),
        ColumnSpec("y", ("a",), (), "int32", classes=10),
        ColumnSpec("one", ("a",), (1,), "int32"),
    ]
    assert columns.check(specs, {**FIELDS, "a2": "double"}) == []


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            ColumnSpec("x", ("Pixel",), None, "float32"),
            ["array 'x': column 'Pixel' does not exist; did you mean 'pixels'?", "the columns are pixels, v, a"],
        ),
        (ColumnSpec("x", ("zzz",), None, "float32"), ["column 'zzz' does not exist; the columns are pixels"]),
        (ColumnSpec("x", ("name",), None, "float32"), ["'name' is of type string, which cannot be trained on"]),
        (
            ColumnSpec("x", ("a", "v"), None, "float32"),
            ["'v' is of type vector, but an array made of several columns", "; declare it as an array of its own"],
        ),
        (
            ColumnSpec("x", ("a", "name"), None, "float32"),
            [
                "'name' is of type string, but an array made",
                "column.cast('double'), where",
                "(column == 'value').cast('int')",
            ],
        ),
        (ColumnSpec("x", ("a", "day"), None, "float32"), ["'day' is of type date", "F.unix_timestamp(column)"]),
        (ColumnSpec("x", ("a", "a"), None, "float32"), ["column 'a' is listed 2 times"]),
        (ColumnSpec("x", ("a", "b"), (3,), "float32"), ["shape [3] holds 3 values, but 2 columns are listed"]),
        (ColumnSpec("x", ("a",), (3,), "float32"), ["one value a row, but shape [3] holds 3"]),
        (replace(GOOD, shape=(0, 8)), ["shape [0, 8] has a size below 1"]),
        (replace(GOOD, dtype="complex64"), ["dtype 'complex64' cannot be trained on; use one of float16"]),
        (replace(GOOD, name="a/b"), ["the name cannot be a file name"]),
        (replace(GOOD, columns=()), ["no column is named"]),
    ],
)
def test_a_problem_names_array_column_and_remedy(spec: ColumnSpec, said: list[str]) -> None:
    (line,) = columns.check([spec], FIELDS)
    for part in said:
        assert part in line


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("decimal(10,2)", "cast('double')"),
        ("decimal(20,0)", "cast('bigint'), and declare dtype: int64"),
        ("timestamp", "unix_timestamp"),
        ("date", "unix_timestamp"),
        ("map<string,int>", "select the numeric values as columns of their own, column['key']"),
        ("struct<a:int>", "select the numeric fields"),
        ("array<array<float>>", "F.flatten(column)"),
        ("array<string>", "column.cast('array<double>') for numbers, for words F.transform(column, lambda word: "),
        ("string", "StringIndexer for categories, for text the ids of its words, F.transform(F.split(column, ' '), "),
        ("varchar(3)", "column.cast('double') for numbers"),
        ("array<decimal(3,1)>", "cast it, column.cast('array<double>')"),
        (
            "binary",
            "F.udf(lambda data: decode(data), 'array<smallint>'), where decode is numpy.frombuffer(data, 'uint8')",
        ),
        ("array<binary>", "turn it into numbers or leave it out"),
        ("void", "leave it out: it has no value in any row"),
        ("interval day to second", "the difference of two F.unix_timestamp(column)"),
    ],
)
def test_unusable_types_come_with_their_way_out(kind: str, remedy: str) -> None:
    (line,) = columns.check([ColumnSpec("x", ("x",), None, "float32")], {"x": kind})
    assert f"is of type {kind}" in line
    assert remedy in line
    assert f"accepted: {columns.ACCEPTED}" in line


def test_columns_of_one_name_are_told_in_one_line() -> None:
    same = "ambiguous (2 columns)"
    (line,) = columns.check([ColumnSpec("x", ("x",), None, "float32")], {"x": same, "X": same, "y": "int"})
    assert line == (
        "array 'x': column 'x' is one of 2 columns that have one name for Spark; rename them, df.toDF(...); where they "
        "differ in case alone, spark.sql.caseSensitive=true tells them apart"
    )


def test_all_problems_are_found_at_once() -> None:
    specs = [
        replace(GOOD, columns=("pixles",), dtype="int7"),
        ColumnSpec("pixels", ("name",), None, "float32"),
        ColumnSpec("y", ("a", "nope"), (3,), "float32"),
    ]
    lines = columns.check(specs, FIELDS)
    assert len(lines) == 6
    assert "declared 2 times" in lines[0]


def test_without_a_schema_only_the_declaration_is_checked() -> None:
    assert columns.check([GOOD], None) == []
    assert len(columns.check([replace(GOOD, dtype="int7")], None)) == 1
    assert "does not exist" in columns.check([GOOD], {})[0]


def test_sources_are_in_declared_order_and_unique() -> None:
    specs = [ColumnSpec("x", ("b", "a"), None, "float32"), ColumnSpec("y", ("a",), None, "float32")]
    assert columns.sources(specs) == ("b", "a")
    assert columns.width(GOOD) == 64
    assert columns.width(specs[1]) is None


@pytest.mark.parametrize("kind", ["struct<b:int,a:double>", "array<struct<a:double>>"])
def test_a_field_of_a_struct_is_told_to_be_selected(kind: str) -> None:
    (line,) = columns.check([ColumnSpec("x", ("s.a",), None, "float32")], {"s": kind})
    assert line == (
        "array 'x': column 's.a' is a field of column 's', and no column; select it, df.select(\"s.a\", ...), declare "
        "it as 'a', and give that DataFrame to train(); a job file cannot select, so write data.path with the field as "
        "a column"
    )
    for other in ({"s": "struct<aa:int>"}, {"s": "double"}, {"t": kind}):
        assert "does not exist" in columns.check([ColumnSpec("x", ("s.a",), None, "float32")], other)[0]
    assert columns.check([ColumnSpec("x", ("s.a",), None, "float32")], {"s": kind, "s.a": "double"}) == []
